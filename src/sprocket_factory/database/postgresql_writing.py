"""How a write commits on PostgreSQL: once, whatever happens to the connection.

A write function is run again, out of sight, where the database asks for it: after a serialization failure, a deadlock,
or because somebody else stored the same thing a moment earlier, which it then finds. So is one whose connection is lost
before COMMIT was sent. Once COMMIT was sent nobody may guess. So every transaction ends with a token of its own. Who
stores it again afterwards meets it if the transaction was committed, waits for one that is just being committed, and
otherwise keeps it from ever being committed. (A transaction's number proves nothing: after a crash it is given anew.)
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from random import Random
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg

from sprocket_factory.database import STAGED_COLUMNS, Author, Block, Overtaken, Row, Value
from sprocket_factory.database.postgresql_pool import FOR_EVER, LOST, Connection, Pool, acquired, drop, translate
from sprocket_factory.errors import Busy, NotNow, OutcomeUnknown

MAX_ATTEMPTS = 5

OUTCOME_SECONDS = 8
"""How long the outcome of a COMMIT is asked for while the database is away."""

COLLISIONS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
    Overtaken,
)
"""Somebody else was first. Run again, the write finds what that one stored."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""The database may have another default; but who has waited for a lock must see what the other one stored."""

BEGIN_ALONE = f"{BEGIN}; SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'"
"""What takes long has no time limit. It locks what it rests on, as every write does: under REPEATABLE READ
what takes a minute would be refused because of what takes a millisecond."""

COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"
"""A time limit that strikes during COMMIT would leave everybody in doubt."""

CHUNK_ROWS = 10_000

STORE_OUTCOME = "INSERT INTO outcomes (token, committed, at) VALUES (:token, true, now())"
SETTLE_OUTCOME = (
    "INSERT INTO outcomes (token, committed, at) VALUES ($1, false, now())"
    " ON CONFLICT (token) DO UPDATE SET at = outcomes.at RETURNING committed"
)
FORGET_OUTCOMES = "DELETE FROM outcomes WHERE at < now() - INTERVAL '1 hour'"
WRITES_A_SWEEP = 1000

dice = Random()  # noqa: S311 - it spreads attempts and sweeps; and it is no part of a sequence that others rely on

T = TypeVar("T")


class PostgreSQLTransaction:
    """A `Transaction` on one connection."""

    new_changes = "new_changes"
    quarter = "date_bin(INTERVAL '15 minutes', time, TIMESTAMPTZ '1970-01-01T00:00:00Z')"

    def __init__(self, connection: Connection, by: Author, timeout: float | None) -> None:
        self.by = by
        self._connection = connection
        self._timeout = timeout
        self._last: tuple[str, dict[str, Value]] | None = None

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        query, names = translate(sql)
        row: Row | None = await self._connection.fetchrow(
            query, *[values[name] for name in names], timeout=self._timeout
        )
        return row

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        query, names = translate(sql)
        rows: list[Row] = await self._connection.fetch(query, *[values[name] for name in names], timeout=self._timeout)
        return rows

    async def lock(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, and keep it as it is for everybody else until the transaction ends."""
        return await self.one(f"{sql} FOR UPDATE", **values)

    async def share(self, sql: str, **values: Value) -> list[Row]:
        """Return every row, and keep anybody from locking or removing one until the transaction ends."""
        return await self.all(f"{sql} FOR KEY SHARE", **values)

    async def hold(self, sql: str, **values: Value) -> None:
        """Run a statement by which rows are kept from everybody else before they are changed."""
        await self.run(sql, **values)

    async def chunks(self, sql: str, **values: Value) -> AsyncGenerator[list[Row]]:
        """Give every row in chunks."""
        query, names = translate(sql)
        arguments = [values[name] for name in names]
        cursor = await self._connection.cursor(query, *arguments, timeout=self._timeout)
        while chunk := await cursor.fetch(CHUNK_ROWS, timeout=self._timeout):
            yield chunk

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""
        (row, *_) = await self.all(sql, **values)
        return row

    async def run(self, sql: str, **values: Value | UUID) -> int:
        """Run one statement and return how many rows it changed."""
        query, names = translate(sql)
        status: str = await self._connection.execute(query, *[values[name] for name in names], timeout=self._timeout)
        return int(status.rpartition(" ")[2])

    async def run_last(self, sql: str, **values: Value) -> None:
        """Run one INSERT with the token at the end; the one that had that place before is run now."""
        before, self._last = self._last, (sql, values)
        if before is not None:
            await self.run(before[0], **before[1])

    async def end(self, token: UUID) -> None:
        """Store the token, and in the same round trip what is to be run last."""
        if self._last is None:
            await self.run(STORE_OUTCOME, token=token)
        else:
            sql, values = self._last
            await self.run(f"WITH outcome AS ({STORE_OUTCOME}) {sql}", token=token, **values)

    async def reserve_ids(self, table: str, last_id: int) -> None:
        """Let the table give no id up to this one any more."""
        if last_id:
            sequence = "CAST(pg_get_serial_sequence(:table, 'id') AS regclass)"
            await self.one(
                f"SELECT setval({sequence}, greatest(:last_id, coalesce(pg_sequence_last_value({sequence}), 1)))",
                table=table,
                last_id=last_id,
            )

    async def fill(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as they are."""
        await self._connection.copy_records_to_table(table, records=rows, columns=columns, timeout=self._timeout)

    async def clear(self, table: str) -> None:
        """Begin to fill a temporary table."""
        staging = files("sprocket_factory.database").joinpath("staging.postgresql.sql").read_text(encoding="utf-8")
        await self._connection.execute(f"{staging} TRUNCATE {table}", timeout=self._timeout)

    async def stage(self, table: str, blocks: Iterable[Block]) -> None:
        """Put rows into a temporary table, beside what is there."""
        await self._connection.copy_records_to_table(
            table, records=_in_turns(table, blocks), columns=STAGED_COLUMNS[table], timeout=self._timeout
        )
        await self._connection.execute(f"ANALYZE {table}", timeout=self._timeout)


async def _in_turns(table: str, blocks: Iterable[Block]) -> AsyncGenerator[tuple[int, ...]]:
    """Give the rows, and others their turn after each block: the driver takes rows as fast as they come."""
    for block in blocks:
        await asyncio.sleep(0)
        for row in zip(*[iter(block)] * len(STAGED_COLUMNS[table]), strict=True):
            yield row


async def write(
    pool: Pool, function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], *, by: Author, alone: bool
) -> T:
    """Run a write function in a transaction and return its result once that is durable.

    Raises:
        OutcomeUnknown: The connection was lost during COMMIT, and nobody could say what became of it.
        Busy: Others were first, again and again.
        Exception: What the function raised, or the last failure of the database.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            async with acquired(pool, is_patient=alone) as connection:
                token = uuid4()
                result = await _run(connection, token, function, args, by=by, alone=alone)
                await _commit(pool, connection, token)
                return result
        except LOST as error:
            if attempts == MAX_ATTEMPTS or isinstance(error, asyncpg.QueryCanceledError):
                raise
        except COLLISIONS as error:
            if attempts == MAX_ATTEMPTS:
                raise Busy("Others write the same again and again.", hint="Try again in a moment.") from error
        await asyncio.sleep(dice.uniform(0, 0.02) * 2**attempts)


async def _run(  # noqa: PLR0913 - what is run, as what, and how
    connection: Connection,
    token: UUID,
    function: Callable[..., Coroutine[Any, Any, T]],
    args: tuple[Any, ...],
    *,
    by: Author,
    alone: bool,
) -> T:
    """Begin a transaction and run the function in it; where it fails, leave nothing behind."""
    try:
        await connection.execute(BEGIN_ALONE if alone else BEGIN)
        tx = PostgreSQLTransaction(connection, by, FOR_EVER if alone else None)
        result = await function(tx, *args)
        await tx.end(token)
    except BaseException:
        with suppress(*LOST):  # a connection that is gone has rolled back already
            await connection.execute("ROLLBACK")
        raise
    return result


async def _commit(pool: Pool, connection: Connection, token: UUID) -> None:
    """Commit, or find out whether it was committed. Raises OutcomeUnknown, or what lost it where it was not."""
    try:
        await connection.execute(COMMIT, timeout=FOR_EVER)
    except LOST:
        drop(connection)  # it may hold the last place in the pool, which whoever asks needs
        if not await _was_committed(pool, token):
            raise
    if dice.random() < 1 / WRITES_A_SWEEP:
        with suppress(*LOST, asyncpg.PostgresError):
            await connection.execute(FORGET_OUTCOMES)


async def _was_committed(pool: Pool, token: UUID) -> bool:
    """Settle what became of a transaction, for as long as the database is away. Raises OutcomeUnknown."""
    deadline = asyncio.get_running_loop().time() + OUTCOME_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with acquired(pool) as connection:
                return bool(await connection.fetchval(SETTLE_OUTCOME, token))
        except (*LOST, NotNow, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    raise OutcomeUnknown(
        "The connection to the database was lost at the last moment, and it does not say what became of this.",
        hint="Send it again with the same Idempotency-Key, or look whether it is stored.",
    )
