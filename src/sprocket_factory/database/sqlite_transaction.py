"""What a write function writes to SQLite through."""

import threading
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import islice

import apsw

from sprocket_factory.database import STAGED_COLUMNS, Author, Block, Row, Value

CHUNK_ROWS = 10_000


class SQLiteTransaction:
    """A `Transaction` on the writing connection. Only the writer's thread may touch it."""

    new_changes = "changes"
    quarter = "time - time % 900000000"

    def __init__(self, connection: apsw.Connection, by: Author) -> None:
        self.by = by
        self._connection = connection
        self._thread = threading.get_ident()

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        return self._own_connection().execute(sql, values).fetchone()

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        return self._own_connection().execute(sql, values).fetchall()

    async def lock(self, sql: str, **values: Value) -> Row | None:
        """Return the first row. Nobody else writes meanwhile."""
        return await self.one(sql, **values)

    async def share(self, sql: str, **values: Value) -> list[Row]:
        """Return every row. Nobody else writes meanwhile."""
        return await self.all(sql, **values)

    async def hold(self, sql: str, **values: Value) -> None:
        """Do nothing. Nobody else writes meanwhile."""

    async def chunks(self, sql: str, **values: Value) -> AsyncGenerator[list[Row]]:
        """Give every row in chunks."""
        rows = self._own_connection().execute(sql, values)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield chunk

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""
        return next(self._own_connection().execute(sql, values))

    async def run(self, sql: str, **values: Value) -> int:
        """Run one statement and return how many rows it changed."""
        connection = self._own_connection()
        connection.execute(sql, values)
        return connection.changes()

    async def run_last(self, sql: str, **values: Value) -> None:
        """Run one INSERT now: it costs no round trip that could be saved."""
        self._own_connection().execute(sql, values)

    async def reserve_ids(self, table: str, last_id: int) -> None:
        """Let the table give no id up to this one any more."""
        reserve_ids(self._own_connection(), table, last_id)

    async def fill(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as they are."""
        places = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names from our own tables
        self._own_connection().executemany(sql, rows)

    async def clear(self, table: str) -> None:
        """Begin to fill a temporary table."""
        self._own_connection().execute(f"DELETE FROM {table}")  # noqa: S608 - one of STAGED_COLUMNS

    async def stage(self, table: str, blocks: Iterable[Block]) -> None:
        """Put rows into a temporary table, beside what is there.

        A block is one statement. Each gives up the interpreter's lock and waits to get it back: row by row, a million
        rows took 10 s beside eight busy connections, and 3 by the thousand. Of over 1,300 rows it would be so long
        that apsw parses it anew each time.
        """
        connection = self._own_connection()
        columns = len(STAGED_COLUMNS[table])
        place = f"({','.join('?' * columns)})"
        for block in blocks:
            places = ",".join([place] * (len(block) // columns))
            connection.execute(f"INSERT INTO {table} VALUES {places}", block.tolist())  # noqa: S608

    def _own_connection(self) -> apsw.Connection:
        if threading.get_ident() != self._thread:
            raise RuntimeError("Only the writer's thread may use a transaction, and only while it lasts.")
        return self._connection


def reserve_ids(connection: apsw.Connection, table: str, last_id: int) -> None:
    """Let the table give no id up to this one any more."""
    values = {"table": table, "last_id": last_id}
    connection.execute("DELETE FROM sqlite_sequence WHERE name = :table AND seq < :last_id", values)
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT :table, :last_id"
        " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :table)",
        values,
    )
