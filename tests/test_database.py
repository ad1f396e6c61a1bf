"""What the embedded database promises to those who write through it, beneath HTTP: faults inside a group of writes."""

import asyncio
import os
import threading
from collections import UserDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, KeysView
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from harness import START_SECONDS
from sprocket_factory.database import Database, Row, Transaction, open_database, sqlite_writer
from sprocket_factory.database.migrations import Migration, migrations_for
from sprocket_factory.database.sqlite import CHUNK_ROWS
from sprocket_factory.database.sqlite_scanning import SCAN_SECONDS
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.errors import Busy, Invalid, StorageFull, Unavailable, Unusable
from sprocket_factory.observe_metrics import group_writes

NEW = NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=25.4)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    """Give an open database."""
    database = await open_database(f"sqlite:///{path}")
    try:
        yield database
    finally:
        await database.close()


async def as_one_group(database: Database, *writes: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run writes so that the writer takes them together: it is held up until all of them wait."""
    gate = threading.Event()

    async def hold(_tx: Transaction) -> None:
        gate.wait()

    held = asyncio.ensure_future(database.write(hold, by="test"))
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(write()) for write in writes]
    await asyncio.sleep(0)
    gate.set()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


async def count(database: Database, what: str = "sprockets") -> int:
    """Return how many rows a table has."""
    row = await database.one(f"SELECT count(*) FROM {what}")
    assert row is not None
    return int(row[0])


async def refuse(tx: Transaction) -> None:
    """Write something, then say no."""
    await add_sprocket(tx, NEW)
    raise Invalid("No.")


async def break_down(tx: Transaction) -> None:
    """Write something, then fail as a bug would."""
    await add_sprocket(tx, NEW)
    raise ZeroDivisionError


async def fill(tx: Transaction) -> None:
    """Write until the disk is full: the file may not grow any more."""
    await tx.run("INSERT INTO factories (name, time_zone) VALUES ('big', :zone)", zone="x" * 50_000_000)


async def limit_pages(tx: Transaction, pages: int) -> None:
    """Let the file have so many pages and no more, as a full disk would."""
    await tx.run(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize(("failing", "expected"), [(refuse, Invalid), (break_down, ZeroDivisionError)])
async def test_a_write_that_fails_inside_a_group_harms_no_other(
    tmp_path: Path, failing: Callable[[Transaction], Coroutine[Any, Any, None]], expected: type[Exception]
) -> None:
    """The others of the group are stored and answered; of the failed one there is no trace."""
    async with opened(tmp_path / "a.db") as database:
        first, failed, last = await as_one_group(
            database,
            lambda: database.write(add_sprocket, NEW, by="test"),
            lambda: database.write(failing, by="test"),
            lambda: database.write(add_sprocket, NEW, by="test"),
        )

        assert [1, expected, 2] == [first.id, type(failed), last.id]
        assert 2 == await count(database)


async def test_writes_of_one_turn_after_the_other_share_a_commit(tmp_path: Path) -> None:
    """As long as each turn of the event loop brings another write, the disk is not yet asked to sync."""
    async with opened(tmp_path / "factory.db") as database:
        before = sum(group_writes.counts)
        waiting = []
        for _ in range(8):
            waiting.append(asyncio.ensure_future(database.write(add_sprocket, NEW, by="test")))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        stored = await count(database)

    assert (8, 1) == (stored, sum(group_writes.counts) - before)


async def test_no_write_waits_for_all_that_come_after_it(tmp_path: Path) -> None:
    """Where others come without end, it is stored with those that came until then."""
    async with opened(tmp_path / "factory.db") as database:
        first = asyncio.ensure_future(database.write(add_sprocket, NEW, by="test"))
        others: list[asyncio.Future[Any]] = []
        while not first.done() and len(others) < sqlite_writer.MAX_WAITING - 1:
            others.append(asyncio.ensure_future(database.write(add_sprocket, NEW, by="test")))
            await asyncio.sleep(0)
        was_done = first.done()
        await asyncio.gather(first, *others)

    assert was_done


async def test_a_full_disk_inside_a_group_harms_no_other(tmp_path: Path) -> None:
    """SQLite rolls the whole transaction back; the others are written again alone, and none is answered too early."""
    async with opened(tmp_path / "a.db") as database:
        await database.write(limit_pages, 100, by="test")

        first, failed, last = await as_one_group(
            database,
            lambda: database.write(add_sprocket, NEW, by="test"),
            lambda: database.write(fill, by="test"),
            lambda: database.write(add_sprocket, NEW, by="test"),
        )

        assert [1, StorageFull, 2] == [first.id, type(failed), last.id]
        assert [2, 0] == [await count(database), await count(database, "factories")]


async def test_writing_recovers_by_itself_when_space_returns(tmp_path: Path) -> None:
    """A full disk refuses writes with StorageFull, reads go on, and nothing has to be restarted afterwards."""
    async with opened(tmp_path / "a.db") as database:
        await database.write(limit_pages, 100, by="test")
        with pytest.raises(StorageFull):
            await database.write(fill, by="test")
        assert 0 == await count(database, "factories")

        await database.write(limit_pages, 1_000_000, by="test")
        await database.write(fill, by="test")

        assert 1 == await count(database, "factories")


async def test_a_write_that_waits_for_something_else_is_a_bug_that_is_told(tmp_path: Path) -> None:
    """A write function may wait for its transaction alone: anything else would hold up every other write."""

    async def wait_elsewhere(_tx: Transaction) -> None:
        await asyncio.sleep(0)

    async with opened(tmp_path / "a.db") as database:
        with pytest.raises(RuntimeError, match="wait_elsewhere waits for something other than its transaction"):
            await database.write(wait_elsewhere, by="test")

        assert 1 == (await database.write(add_sprocket, NEW, by="test")).id


async def test_only_the_writers_thread_may_use_a_transaction(tmp_path: Path) -> None:
    """A transaction that was carried out of its write function raises instead of writing in somebody else's."""
    carried: list[Transaction] = []

    async def carry_out(tx: Transaction) -> None:
        carried.append(tx)

    async with opened(tmp_path / "a.db") as database:
        await database.write(carry_out, by="test")

        with pytest.raises(RuntimeError, match="Only the writer's thread"):
            await carried[0].run("DELETE FROM sprockets")


async def test_a_write_whose_turn_does_not_come_is_refused_and_never_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited for the busy time-out gets Busy, and its caller may trust that it was not stored."""
    monkeypatch.setattr(sqlite_writer, "BUSY_SECONDS", 1)  # enough for the first to begin on a busy machine
    begun, gate = threading.Event(), threading.Event()

    async def hold(_tx: Transaction) -> None:
        begun.set()
        gate.wait()

    async with opened(tmp_path / "a.db") as database:
        held = asyncio.ensure_future(database.write(hold, by="test"))
        assert await asyncio.to_thread(begun.wait, START_SECONDS)
        with pytest.raises(Busy):
            await database.write(add_sprocket, NEW, by="test")
        gate.set()
        await held

        assert 1 == (await database.write(add_sprocket, NEW, by="test")).id
        assert 1 == await count(database)


async def test_reads_go_on_while_another_process_holds_the_write_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is held elsewhere refuses writes with Busy within the busy time-out; reads do not notice."""
    monkeypatch.setattr("sprocket_factory.database.sqlite.BUSY_SECONDS", 0.05)
    async with opened(tmp_path / "a.db") as database:
        other = apsw.Connection(str(tmp_path / "a.db"))
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(Busy):
            await database.write(add_sprocket, NEW, by="test")

        assert 0 == await count(database)
        other.execute("ROLLBACK")
        assert 1 == (await database.write(add_sprocket, NEW, by="test")).id
        other.close()


async def test_a_write_that_cannot_begin_tells_what_sqlite_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has it beside the refusal: whoever reads of a disk that fails knows what to look for."""
    monkeypatch.setattr("sprocket_factory.database.sqlite_opening.BUSY_SECONDS", 0.05)
    async with opened(tmp_path / "a.db") as database:
        with closing(apsw.Connection(str(tmp_path / "a.db"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Busy) as refused:
                await database.write(add_sprocket, NEW, by="test")

    assert isinstance(refused.value.__cause__, apsw.BusyError)


async def test_a_stream_is_one_snapshot_and_there_are_only_so_many(tmp_path: Path) -> None:
    """What is written while a list is read does not show in it; a ninth list at once is refused."""
    async with opened(tmp_path / "a.db") as database:

        async def add_many(tx: Transaction) -> None:
            for _ in range(3000):
                await add_sprocket(tx, NEW)

        await database.write(add_many, by="test")
        streams = [database.stream(int, "SELECT id FROM sprockets ORDER BY id") for _ in range(8)]
        firsts = [await anext(stream) for stream in streams]
        await database.write(add_many, by="test")
        with pytest.raises(Busy):
            await anext(database.stream(int, "SELECT id FROM sprockets"))

        rows = [row for chunks in [firsts[0], *[chunk async for chunk in streams[0]]] for row in chunks]

        assert list(range(1, 3001)) == rows
        for stream in streams:
            await stream.aclose()
        assert 6000 == sum([len(chunk) async for chunk in database.stream(int, "SELECT id FROM sprockets")])


@pytest.mark.parametrize("count", [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1])
async def test_few_are_there_at_once_or_not_at_all(tmp_path: Path, count: int) -> None:
    """A list of up to one chunk comes whole; of a longer one comes nothing, and nobody's snapshot is held for it."""
    async with opened(tmp_path / "a.db") as database:

        async def add_many(tx: Transaction) -> None:
            for _ in range(count):
                await add_sprocket(tx, NEW)

        await database.write(add_many, by="test")
        found = database.few(int, "SELECT id FROM sprockets ORDER BY id")
        scanned = database.few(int, "SELECT id FROM sprockets ORDER BY id", scans=True)
        await database.write(add_sprocket, NEW, by="test")

        assert (list(range(1, count + 1)) if count <= CHUNK_ROWS else None) == found
        assert scanned is None
        assert (count + 1,) == await database.one("SELECT count(*) FROM sprockets")


async def test_a_scan_is_waited_for_however_often_its_caller_goes(tmp_path: Path) -> None:
    """Its connection is not used again before the thread that reads has let go of it."""
    gate = threading.Event()
    async with opened(tmp_path / "a.db") as database:

        def wait(_row: int) -> None:
            gate.wait()

        reading = asyncio.ensure_future(database.read(wait, "SELECT 1", scans=True))
        for _ in range(3):
            await asyncio.sleep(0.05)
            reading.cancel()
        await asyncio.sleep(0.05)
        has_ended = reading.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await reading

        assert not has_ended
        assert [1] == await database.read(int, "SELECT 1", scans=True)


async def test_a_scan_whose_thread_is_late_ends_with_its_caller(tmp_path: Path) -> None:
    """It waits for nothing, and what it would have read is never read."""
    gate, read = threading.Event(), list[int]()

    class Late(ThreadPoolExecutor):
        """A thread that begins with nothing before it may."""

        def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            def begin() -> Any:
                gate.wait()
                return function(*args, **kwargs)

            return super().submit(begin)

    async with opened(tmp_path / "a.db") as database:
        asyncio.get_running_loop().set_default_executor(Late(1))
        reading = asyncio.ensure_future(database.read(read.append, "SELECT 1", scans=True))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait([reading], timeout=1)
        has_ended = reading.done()
        gate.set()
        again = await database.read(int, "SELECT 2", scans=True)

    assert (True, [2], []) == (has_ended, again, read)


async def test_a_scan_whose_caller_goes_just_before_it_begins_ends_at_once(tmp_path: Path) -> None:
    """An interrupt does nothing to a statement that has not begun; it ends all the same, and not at its time limit."""
    begun, gate = threading.Event(), threading.Event()

    class Held(UserDict[str, int]):
        """Parameters that keep the thread from beginning the statement."""

        def keys(self) -> KeysView[str]:
            begun.set()
            gate.wait()
            return super().keys()

    endless = "WITH RECURSIVE n(n) AS (SELECT :n UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n"
    async with opened(tmp_path / "a.db") as database:
        reading = asyncio.ensure_future(database.read(int, endless, Held(n=1), scans=True))
        assert await asyncio.to_thread(begun.wait, START_SECONDS)
        reading.cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.wait([reading], timeout=SCAN_SECONDS / 2)
        has_ended = reading.done()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert has_ended


async def test_readers_at_once_get_what_is_stored_while_scans_are_given_up(tmp_path: Path) -> None:
    """SQLite keeps no two threads out of one connection here, so that the program itself has to, in every round."""
    rows = [(number, f"sprocket {number}") for number in range(1, 3001)]
    pairs = "SELECT id, 'sprocket ' || id FROM sprockets"
    one_long_step = "SELECT length(hex(randomblob(3000000)))"  # within which nobody looks whether to end
    async with opened(tmp_path / "a.db") as database:

        async def add_many(tx: Transaction) -> None:
            for _ in rows:
                await add_sprocket(tx, NEW)

        async def list_all(*, scans: bool) -> list[tuple[int, str]]:
            chunks = database.stream(lambda *row: row, f"{pairs} ORDER BY id", scans=scans)
            return [row async for chunk in chunks for row in chunk]

        async def point_reads() -> list[Row | None]:
            found = []
            for number, _ in rows[::100]:
                found.append(await database.one(f"{pairs} WHERE id = :id", id=number))
                await asyncio.sleep(0)
            return found

        await database.write(add_many, by="test")
        for _ in range(5):
            given_up = [asyncio.ensure_future(database.read(int, one_long_step, scans=True)) for _ in range(3)]
            await asyncio.sleep(0.005)
            for scan in given_up:
                scan.cancel()
            await asyncio.sleep(0)
            *lists, points = await asyncio.gather(list_all(scans=False), list_all(scans=True), point_reads())
            await asyncio.wait(given_up)

            assert [rows, rows] == lists
            assert rows[::100] == points
            assert all(scan.cancelled() for scan in given_up)


async def test_closing_finishes_what_was_taken_and_refuses_what_comes_later(tmp_path: Path) -> None:
    """A write that waits when the database closes is stored and answered; one that comes later is Unavailable."""
    async with opened(tmp_path / "a.db") as database:
        writes = [asyncio.ensure_future(database.write(add_sprocket, NEW, by="test")) for _ in range(20)]
        await asyncio.sleep(0)
    assert 20 == len({(await write).id for write in writes})

    with pytest.raises(Unavailable):
        await database.write(add_sprocket, NEW, by="test")


async def test_fault_36_what_is_not_our_database_is_refused(tmp_path: Path) -> None:
    """A file that is no database, or another program's, is refused at the start, and left as it is."""
    text = tmp_path / "notes.txt"
    text.write_text("nothing of a database " * 100)
    foreign = tmp_path / "foreign.db"
    connection = apsw.Connection(str(foreign))
    connection.execute("CREATE TABLE theirs (id)")
    connection.close()

    for path, reason in [(text, "no SQLite database"), (foreign, "another program's")]:
        before = path.read_bytes()
        with pytest.raises(Unusable, match=reason):
            await open_database(f"sqlite:///{path}")
        assert before == path.read_bytes()


async def test_fault_36_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A program older than the database says so instead of guessing."""

    async def pretend(tx: Transaction) -> None:
        await tx.run("INSERT INTO migrations (number, name, applied_at) VALUES (9999, 'later', '')")

    async with opened(tmp_path / "a.db") as database:
        await database.write(pretend, by="test")

    with pytest.raises(Unusable, match=r"version 9999.*newer program"):
        await open_database(f"sqlite:///{tmp_path / 'a.db'}")


async def test_a_migration_that_sqlite_itself_has_rolled_back_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does on a full disk. Nothing of it is stored, and nobody has the file open any more."""
    async with opened(tmp_path / "a.db") as database:
        before = await database.all("SELECT name FROM sqlite_schema ORDER BY name")
    known = migrations_for("sqlite")
    sql = "CREATE TABLE ones (one UNIQUE); INSERT INTO ones VALUES (1); INSERT OR ROLLBACK INTO ones VALUES (1);"
    with monkeypatch.context() as patch:
        patch.setattr(
            "sprocket_factory.database.migrations.migrations_for",
            lambda _engine: [*known, Migration(len(known) + 1, "ones", sql)],
        )
        with pytest.raises(Unusable, match=r"UNIQUE constraint failed: ones\.one"):
            await open_database(f"sqlite:///{tmp_path / 'a.db'}")
    files = os.listdir(tmp_path)  # noqa: PTH208 - the loop has nothing else to do
    async with opened(tmp_path / "a.db") as database:
        after = await database.all("SELECT name FROM sqlite_schema ORDER BY name")

    assert ["a.db"] == files
    assert before == after


async def test_fault_36_a_missing_database_is_refused_where_it_must_exist(tmp_path: Path) -> None:
    """`--must-exist` keeps a slip in an address from making an empty database."""
    with pytest.raises(Unusable, match="no database at"):
        await open_database(f"sqlite:///{tmp_path / 'a.db'}", must_exist=True)

    assert [] == os.listdir(tmp_path)  # noqa: PTH208 - the loop has nothing else to do


@pytest.mark.parametrize("url", ["", "factory.db", "mysql://x/y", "sqlite://host/x", "sqlite:///x?y=z"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The refusal shows how one is written."""
    with pytest.raises(Unusable, match=r"sqlite:///file\.db"):
        await open_database(url)
