"""PostgreSQL: the same service with any number of servers in front of one database.

Reading is one statement at a time on a pooled connection; a list that does not fit into one chunk comes through a
cursor in a transaction of its own. How writes commit stands in postgresql_writing.py.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import starmap
from time import monotonic
from typing import Any, TypeVar, TypeVarTuple

from sprocket_factory.database import (
    NO_VALUES,
    Author,
    Database,
    Measures,
    Row,
    ServerPlace,
    Transaction,
    Value,
)
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.migrations import check_schema
from sprocket_factory.database.postgresql_migrations import bring_up_to_date
from sprocket_factory.database.postgresql_opening import connect, unusable
from sprocket_factory.database.postgresql_ordering import Ordering
from sprocket_factory.database.postgresql_pool import (
    ACQUIRE_SECONDS,
    Pool,
    acquired,
    refusals_raised,
    translate,
)
from sprocket_factory.database.postgresql_writing import write
from sprocket_factory.errors import Busy, StorageFull, Unavailable
from sprocket_factory.observe_statements import list_noted, read_noted, write_noted

CHUNK_ROWS = 1000

ALONG_AN_INDEX = "SET LOCAL enable_sort = off"
"""An index has the rows in this order. Whoever wants them all is thought to be served best by reading the whole table
and sorting what is wanted; of thirty million records a factory's list then begins after seconds."""

TRUSTED_SECONDS = 2.0
"""So long what was read may be taken for what is stored."""

CHECK_SECONDS = 1.0
CHECK = "SELECT max(number), current_setting('transaction_read_only') FROM migrations"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class PostgreSQLDatabase(Database):
    """A `Database` on a server."""

    engine = "PostgreSQL"

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
        self._writes = 0
        self._was_full = False
        self._scans = asyncio.Semaphore(most)

    def stamp(self) -> float:
        """Return what changes every few seconds: to ask more exactly would be a round trip."""
        return monotonic() // TRUSTED_SECONDS

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        query, names = translate(sql)
        with read_noted(sql), refusals_raised():
            async with acquired(self._pool) as connection:
                row: Row | None = await connection.fetchrow(query, *[values[name] for name in names])
        return row

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        with read_noted(sql):
            return await self._rows(sql, values)

    async def write(
        self,
        function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        by: str,
        request_id: str = "",
        alone: bool = False,
    ) -> T:
        """Run a write function in a transaction and return its result once that is durable."""
        self._writes += 1
        try:
            with write_noted(function, alone=alone), refusals_raised():
                result = await write(self._pool, function, args, by=Author(by, request_id), alone=alone)
        except StorageFull:
            self._was_full = True
            raise
        finally:
            self._writes -= 1
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
            with list_noted(sql):
                return [make(*row) for row in await self._rows(sql, values)]

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
            with list_noted(sql):
                begun = await self._rows(f"{sql} LIMIT {CHUNK_ROWS + 1}", values)
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

                    async def fetch() -> list[Row]:
                        with list_noted(sql):
                            rows: list[Row] = await cursor.fetch(CHUNK_ROWS)
                        return rows

                    fetching = asyncio.ensure_future(fetch())
                    try:
                        while rows := await asyncio.shield(fetching):
                            # The server finds the next rows while these are made and sent.
                            fetching = asyncio.ensure_future(fetch())
                            await asyncio.sleep(0)  # so that it is asked before they are made
                            yield list(starmap(make, rows))
                    finally:
                        await _let_end(fetching, at_once=scans)
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

    async def check(self) -> None:
        """Return if it can be read and written now, and its schema is this program's."""
        with refusals_raised(), suppress(Busy):  # while every connection is at work the database answers
            async with acquired(self._pool, seconds=CHECK_SECONDS) as connection:
                applied, read_only = await connection.fetchrow(CHECK, timeout=CHECK_SECONDS)
            check_schema("postgresql", applied)
            if read_only == "on":
                raise Unavailable("The database is a standby for now.", hint="Try again in a moment.")
            if self._was_full:
                await self.write(_do_nothing, by="service")  # every transaction stores its token
                self._was_full = False

    def measures(self) -> Measures:
        """Return what can be measured of it now."""
        return {
            "sprocket_database_writes_waiting": self._writes,
            "sprocket_database_streams_open": self._streams,
            **self._pool.measures(),
        }

    async def _rows(self, sql: str, values: Mapping[str, Value]) -> list[Row]:
        query, names = translate(sql)
        with refusals_raised():
            async with acquired(self._pool) as connection:
                rows: list[Row] = await connection.fetch(query, *[values[name] for name in names])
        return rows

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


async def _let_end(fetching: asyncio.Task[list[Row]], *, at_once: bool) -> None:
    """Wait until a fetch is no longer under way, `at_once` by cancelling it. The connection is the next one's then.

    The server's log tells of a cancelled statement as of an error, and it takes one more connection to cancel it. Rows
    along an index are there sooner; but who is told to go while he waits for them waits no longer.
    """
    told_to_go: asyncio.CancelledError | None = None
    while not fetching.done():
        if at_once:
            fetching.cancel()
        try:
            await asyncio.wait([fetching])
        except asyncio.CancelledError as error:
            at_once, told_to_go = True, error
    if not fetching.cancelled():
        fetching.exception()  # nobody comes to it any more, and asyncio would tell of what nobody looks at
    if told_to_go is not None:
        raise told_to_go


async def _do_nothing(_tx: Transaction) -> None:
    pass


async def open_postgresql(place: ServerPlace, *, must_exist: bool, max_streams: int) -> PostgreSQLDatabase:
    """Open the database at this address and bring its schema up to date. Raises Unusable."""
    pool = await connect(place)
    try:
        applied = await bring_up_to_date(pool, place, must_exist=must_exist)
    except BaseException as error:
        await pool.close()
        raise unusable(place, error) from error
    return PostgreSQLDatabase(pool, place.url, is_new=not applied, max_streams=max_streams)
