"""The embedded engine: one SQLite file, served by one process.

Readers are connections of their own and run inline in the event loop, where what they do at a time is short: a point
read takes microseconds, a hop to a thread many times that. One thread owns the one writing connection
(sqlite_writer.py).
"""

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from itertools import islice, starmap
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import apsw

from sprocket_factory.database import NO_VALUES, Author, Database, Measures, Row, Transaction, Value
from sprocket_factory.database.checking import damaged
from sprocket_factory.database.migrations import check_schema
from sprocket_factory.database.sqlite_errors import refusal_for
from sprocket_factory.database.sqlite_opening import migrate, open_reader, open_writer
from sprocket_factory.database.sqlite_scanning import scan
from sprocket_factory.database.sqlite_writer import BUSY_SECONDS, Writer
from sprocket_factory.errors import Busy, StorageFull, Unavailable, Unusable
from sprocket_factory.observe_statements import list_noted, read_noted, write_noted

MAX_READS = 8
"""As many pages are read at once; the others wait for their turn."""

CHUNK_ROWS = 200
"""A list is read in chunks so small that other requests hardly wait for one."""

SCANNED_ROWS = 2000
"""In a thread a chunk may be larger, for nobody waits for it."""

LEAST_FREE_BYTES = 1024 * 1024
"""A disk with less room is full: the next write may be the one that fails."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SQLiteDatabase(Database):
    """A `Database` in one file."""

    engine = f"SQLite {apsw.sqlite_lib_version()}"

    def __init__(self, path: Path, connection: apsw.Connection, *, is_new: bool, max_streams: int) -> None:
        self.location = str(path)
        self.is_new = is_new
        self.max_streams = max_streams
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(connection, self._loop)
        self._reader = open_reader(path)
        self._idle: list[apsw.Connection] = []
        self._streams = 0
        self._was_full = False
        self._stamp: float | None = None
        self._turns = asyncio.Semaphore(MAX_READS)

    def stamp(self) -> float:
        """Return what any commit changes, in this process or another.

        It is looked at once in a turn of the event loop: what asks in that turn was there before.
        """
        if self._stamp is None:
            try:
                self._stamp = float(self._reader.execute("PRAGMA data_version").get)
            except apsw.Error:
                return math.nan  # is never the same
            self._loop.call_soon(self._forget_stamp)
        return self._stamp

    def _forget_stamp(self) -> None:
        self._stamp = None

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        with read_noted(sql):
            try:
                return self._reader.execute(sql, values).fetchone()
            except apsw.BusyError:
                rows = await self._read_in_thread(sql, values)
                return rows[0] if rows else None
            except apsw.Error as error:
                raise refusal_for(error) from error

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        with read_noted(sql):
            try:
                return self._reader.execute(sql, values).fetchall()
            except apsw.BusyError:
                return await self._read_in_thread(sql, values)
            except apsw.Error as error:
                raise refusal_for(error) from error

    async def write(
        self,
        function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        by: str,
        request_id: str = "",
        alone: bool = False,
    ) -> T:
        """Run a write function in the writer's next group and return its result once that is durable."""
        with write_noted(function, alone=alone):
            try:
                return await self._writer.submit(function, args, Author(by, request_id), alone=alone)
            except StorageFull:
                self._was_full = True
                raise

    async def read(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False
    ) -> list[T]:
        """Return `make(*row)` for every row of a statement that has a LIMIT."""
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Busy(f"{MAX_READS} lists are being read already.", hint="Try again in a moment.") from None
        try:
            return [thing async for chunk in self._chunks(make, sql, values, scans=scans) for thing in chunk]
        finally:
            self._turns.release()

    def stream(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False
    ) -> AsyncGenerator[list[T]]:
        """Give `make(*row)` for every row in chunks, from the snapshot that the one statement holds."""
        return self._chunks(make, sql, values, scans=scans, is_stream=True)

    def few(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False
    ) -> list[T] | None:
        """Return every row of a list of one chunk, without the generator that takes an eighth of such a request."""
        if scans:
            return None
        with list_noted(sql):
            try:
                rows = self._reader.execute(sql, dict(values))
                begun = list(starmap(make, islice(rows, CHUNK_ROWS + 1)))
            except apsw.BusyError:
                return None  # a stream has a connection of its own, on which it waits
            except apsw.Error as error:
                raise refusal_for(error) from error
        if len(begun) <= CHUNK_ROWS:
            return begun
        rows.close(force=True)
        return None

    async def order_changes(self) -> None:
        """Do nothing: the one writer has numbered them in the order in which they become visible."""

    async def last_id(self, table: str) -> int:
        """Return the last id that the table has given."""
        row = await self.one("SELECT seq FROM sqlite_sequence WHERE name = :table", table=table)
        return 0 if row is None else int(row[0])

    async def check(self) -> None:
        """Return if it can be read and written now, and its schema is this program's."""
        rows = await self.all("SELECT max(number) FROM migrations")
        check_schema("sqlite", rows[0][0])
        try:
            disk = os.statvfs(self.location)
        except OSError as error:
            raise Unavailable(
                f"The file of the database cannot be found: {error.strerror}.", hint="Look whether its disk is there."
            ) from error
        if disk.f_flag & os.ST_RDONLY or disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES:
            raise refusal_for(apsw.FullError())
        if self._was_full:
            # Only who writes finds out whether there is room again.
            await self.write(_use_room, by="service", alone=True)
            self._was_full = False

    def measures(self) -> Measures:
        """Return what can be measured of it now."""
        measured: dict[str, float] = {
            "sprocket_database_writes_waiting": self._writer.count_waiting(),
            "sprocket_database_streams_open": self._streams,
        }
        with suppress(OSError):  # where its disk is gone there is nothing to measure, and `check` says so
            disk = os.statvfs(self.location)
            measured |= {
                "sprocket_database_bytes": _size_of(self.location),
                "sprocket_database_wal_bytes": _size_of(f"{self.location}-wal"),
                "sprocket_database_disk_free_bytes": disk.f_bavail * disk.f_frsize,
            }
        return measured

    async def close(self) -> None:
        """Finish the writes that were taken, then close every connection."""
        await self._loop.run_in_executor(None, self._writer.close)
        for connection in (self._reader, *self._idle):
            connection.close()

    async def _chunks(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value], *, scans: bool, is_stream: bool = False
    ) -> AsyncGenerator[list[T]]:
        """Give the rows in chunks, and count those who read a stream: a generator around this one for it would be dear.

        What finds its rows along an index is read in the event loop, other requests between the chunks. A thread
        would give up the interpreter's lock at every row and wait to get it back: beside eight busy connections
        1,000,000 rows then took 12 to 24 s instead of 2 to 3 (docs/decisions/). Only what may look at a million rows
        to find one goes to a thread.
        """
        if is_stream and self._streams >= self.max_streams:  # each holds the write-ahead log back
            raise Busy(f"{self.max_streams} whole lists are being read already.", hint="Try again in a moment.")
        connection = self._idle.pop() if self._idle else self._open_another()
        self._streams += is_stream
        wanted = SCANNED_ROWS if scans else CHUNK_ROWS
        rows: apsw.Cursor | None = None

        def next_chunk() -> list[T]:
            nonlocal rows
            if rows is None:
                rows = connection.execute(sql, dict(values))
            return list(starmap(make, islice(rows, wanted)))

        try:
            is_last = False
            while not is_last:
                with list_noted(sql):
                    chunk = await scan(connection, next_chunk) if scans else next_chunk()
                is_last = len(chunk) < wanted
                if chunk:
                    yield chunk
                if not is_last:
                    await asyncio.sleep(0)
        except apsw.Error as error:
            raise refusal_for(error) from error
        finally:
            if rows is not None:
                rows.close(force=True)
            self._idle.append(connection)
            self._streams -= is_stream

    def _open_another(self) -> apsw.Connection:
        try:
            return open_reader(Path(self.location))
        except apsw.Error as error:
            raise refusal_for(error) from error

    async def _read_in_thread(self, sql: str, values: dict[str, Value]) -> list[Row]:
        def read() -> list[Row]:
            connection = open_reader(Path(self.location))
            connection.set_busy_timeout(round(BUSY_SECONDS * 1000))
            try:
                return connection.execute(sql, values).fetchall()
            except apsw.Error as error:
                raise refusal_for(error) from error
            finally:
                connection.close(force=True)

        return await self._loop.run_in_executor(None, read)


def open_sqlite(path: Path, *, must_exist: bool, max_streams: int) -> SQLiteDatabase:
    """Open the file, make it if there is none, and bring its schema up to date. Raises Unusable."""
    path = path.absolute()
    if not path.exists():
        if must_exist:
            raise Unusable(
                f"There is no database at {path}.", hint="Check the address, or leave --must-exist out to make one."
            )
        if not path.parent.is_dir():
            raise Unusable(f"There is no folder {path.parent}.", hint="Make it, or choose another --database-url.")
        try:
            path.touch(mode=0o600)  # what will be in it is nobody else's business
        except OSError as error:
            raise Unusable(f"{path} cannot be made: {error.strerror}.", hint="Check its folder.") from error
    try:
        connection = open_writer(path)
        is_new = migrate(connection)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise damaged(path, error) from error
    except apsw.Error as error:
        raise Unusable(f"{path} cannot be opened: {error}.", hint="Check its permissions and its disk.") from error
    return SQLiteDatabase(path, connection, is_new=is_new, max_streams=max_streams)


async def _use_room(tx: Transaction) -> None:
    """Write as much as a small write takes, and take it away again."""
    await tx.run("CREATE TABLE room (bytes BLOB)")
    await tx.run("INSERT INTO room VALUES (zeroblob(65536))")
    await tx.run("DROP TABLE room")


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
