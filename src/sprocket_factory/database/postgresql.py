"""PostgreSQL: the same service with any number of servers in front of one database.

Reading is one statement at a time on a pooled connection; a list that does not fit into one chunk comes through a
cursor in a transaction of its own. How writes commit stands in postgresql_writing.py.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from sprocket_factory.database import (
    NO_VALUES,
    Author,
    Database,
    Row,
    ServerPlace,
    Transaction,
    Value,
    without_password,
)
from sprocket_factory.database.migrations import Migration, missing_migrations
from sprocket_factory.database.postgresql_migrations import bring_up_to_date, newest_migration
from sprocket_factory.database.postgresql_ordering import Ordering
from sprocket_factory.database.postgresql_pool import (
    ACQUIRE_SECONDS,
    LOST,
    Pool,
    acquired,
    make_pool,
    refusals_raised,
    translate,
)
from sprocket_factory.database.postgresql_writing import write
from sprocket_factory.errors import Busy, Unusable

CHUNK_ROWS = 1000

NEVER = (
    ValueError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ProtocolViolationError,
)
"""Waiting does not mend these."""

FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl"}

START_SECONDS = 10
"""How long a database that is just starting is waited for."""

ALONG_AN_INDEX = "SET LOCAL enable_sort = off"
"""An index has the rows in this order. Whoever wants them all is thought to be served best by reading the whole table
and sorting what is wanted; of thirty million records a factory's list then begins after seconds."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class PostgreSQLDatabase(Database):
    """A `Database` on a server."""

    trusts_seconds = 2.0

    def __init__(self, pool: Pool, url: str, *, is_new: bool, max_streams: int) -> None:
        self.location = without_password(url)
        self.is_new = is_new
        self._pool = pool
        self._ordering = Ordering(pool)
        # A stream holds a connection for as long as its reader takes, so others must be left for everybody else.
        # So does a scan for as long as it takes.
        most = max(1, pool.max_size // 3)
        self.max_streams = min(most, max_streams)
        self._streams = 0
        self._scans = asyncio.Semaphore(most)

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        query, names = translate(sql)
        with refusals_raised():
            async with acquired(self._pool) as connection:
                row: Row | None = await connection.fetchrow(query, *[values[name] for name in names])
        return row

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        query, names = translate(sql)
        with refusals_raised():
            async with acquired(self._pool) as connection:
                rows: list[Row] = await connection.fetch(query, *[values[name] for name in names])
        return rows

    async def write(
        self,
        function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        by: str,
        request_id: str = "",
        alone: bool = False,
    ) -> T:
        """Run a write function in a transaction and return its result once that is durable."""
        with refusals_raised():
            result = await write(self._pool, function, args, by=Author(by, request_id), alone=alone)
        self._ordering.order_soon()
        return result

    async def read(
        self,
        make: Callable[..., T],
        sql: str,
        values: Mapping[str, Value] = NO_VALUES,
        *,
        scans: bool = False,
    ) -> list[T]:
        """Return `make(*row)` for every row of a statement that has a LIMIT."""
        async with self._turn(scans=scans):
            return [make(*row) for row in await self.all(sql, **values)]

    async def stream(
        self,
        make: Callable[..., T],
        sql: str,
        values: Mapping[str, Value] = NO_VALUES,
        *,
        scans: bool = False,
    ) -> AsyncGenerator[list[T]]:
        """Give `make(*row)` for every row in chunks, from the snapshot that the one statement holds."""
        # Most lists are short, and then one round trip is enough; a cursor takes four.
        async with self._turn(scans=scans):
            begun = await self.all(f"{sql} LIMIT {CHUNK_ROWS + 1}", **values)
        if len(begun) <= CHUNK_ROWS:
            yield [make(*row) for row in begun]
            return
        if self._streams >= self.max_streams:
            raise Busy(f"{self.max_streams} whole lists are being read already.", hint="Try again in a moment.")
        self._streams += 1
        query, names = translate(sql)
        try:
            with refusals_raised():
                async with (
                    acquired(self._pool, is_patient=True) as connection,
                    connection.transaction(readonly=True),
                ):
                    if not scans:
                        await connection.execute(ALONG_AN_INDEX)
                    cursor = await connection.cursor(query, *[values[name] for name in names])
                    while rows := await cursor.fetch(CHUNK_ROWS):
                        yield [make(*row) for row in rows]
        finally:
            self._streams -= 1

    async def order_changes(self) -> None:
        """Let every change that is committed have its position in the record of changes."""
        with refusals_raised():
            await self._ordering.order()

    async def last_id(self, table: str) -> int:
        """Return the last id that the table has given."""
        row = await self.one(
            "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(:table, 'id')), 0)", table=table
        )
        return int(row[0]) if row else 0

    @asynccontextmanager
    async def _turn(self, *, scans: bool) -> AsyncIterator[None]:
        """Wait until no more scans run than may. Raises Busy."""
        if not scans:
            yield
            return
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._scans.acquire()
        except TimeoutError:
            raise Busy("Others look through many rows already.", hint="Try again in a moment.") from None
        try:
            yield
        finally:
            self._scans.release()

    async def close(self) -> None:
        """Finish what was begun and let go of every connection."""
        await self._ordering.close()
        await self._pool.close()


async def open_postgresql(place: ServerPlace, *, must_exist: bool, max_streams: int) -> PostgreSQLDatabase:
    """Open the database at this address and bring its schema up to date. Raises Unusable."""
    pool = await _connect(place)
    try:
        applied = await bring_up_to_date(pool, place, must_exist=must_exist)
    except BaseException as error:
        await pool.close()
        raise _unusable(place, error) from error
    return PostgreSQLDatabase(pool, place.url, is_new=not applied, max_streams=max_streams)


async def missing_in_postgresql(place: ServerPlace) -> list[Migration]:
    """Return what the schema at this address still needs. Raises Unusable."""
    pool = await _connect(place)
    try:
        return missing_migrations("postgresql", await newest_migration(pool))
    except asyncpg.PostgresError as error:
        raise _unusable(place, error) from error
    finally:
        await pool.close()


async def _connect(place: ServerPlace) -> Pool:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            _check_files(place.url)
            return await make_pool(place)
        except (asyncpg.PostgresError, *LOST, OSError, ValueError) as error:
            may_come = isinstance(error, (*LOST, OSError)) and not isinstance(error, NEVER)
            if not may_come or asyncio.get_running_loop().time() > deadline:
                raise _unusable(place, error) from error
        await asyncio.sleep(0.3)


def _check_files(url: str) -> None:
    """Raise Unusable where the address names a file that is not there: the driver would not say which."""
    for name, path in parse_qsl(urlsplit(url).query):
        if name in FILES and not os.access(path, os.R_OK):
            raise Unusable(f"{path} cannot be read.", hint=f"--database-url names it as {name}.")


def _unusable(place: ServerPlace, error: BaseException) -> BaseException:
    """Return what the operator is told of a failure while opening."""
    where = without_password(place.url)
    match error:
        case asyncpg.InsufficientPrivilegeError():
            return Unusable(
                f"{where} cannot be brought up to date: {error}.",
                hint="Run `migrate` as a role that may create tables, or GRANT CREATE ON SCHEMA public to this one.",
            )
        case asyncpg.UndefinedColumnError() | asyncpg.DuplicateTableError():
            return Unusable(f"{where} is another program's database.", hint="Choose another --database-url.")
        case asyncpg.ReadOnlySQLTransactionError():
            return Unusable(
                f"{where} is a standby, or read-only.",
                hint="Name the primary, or add ?target_session_attrs=read-write.",
            )
        case asyncpg.ProtocolViolationError():
            return Unusable(
                f"{where} cannot be opened: {error}.",
                hint="If a proxy that pools connections stands in between, say so: --database-through-proxy.",
            )
        case asyncpg.PostgresError() | OSError() | ValueError() | asyncpg.InterfaceError():
            return Unusable(
                f"{where} cannot be opened: {str(error) or type(error).__name__}.",
                hint="Check the address, the password, and whether the database is running.",
            )
    return error
