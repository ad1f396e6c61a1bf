"""What long lists promise on PostgreSQL, where the next rows are fetched ahead of their reader."""

import asyncio
import gc
from contextlib import aclosing

import asyncpg
import httpx
import pytest

from harness import BASE_PATH, START_SECONDS, TLS, Client
from log_lines import Logged
from long_lists import as_many_stopped_readers_as_allowed, service_with_many_records
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Database, open_database
from sprocket_factory.observe_statements import slow
from sprocket_factory.settings import Settings

CANCELLED = "canceling statement due to user request"


@pytest.fixture
def database_url(postgresql: PostgreSQLServer) -> str:
    """Return the address of a database in which nothing is stored yet."""
    return postgresql.new_database()


def numbers(seconds: float) -> str:
    """Return a statement for the numbers up to 5000 that takes so long to find number 1500."""
    return f"SELECT n FROM generate_series(1, 5000) AS n WHERE n <> 1500 OR pg_sleep({seconds}) IS NOT NULL"


def times_cancelled(server: PostgreSQLServer) -> int:
    """Return how often the server's log tells of a statement that was cancelled."""
    return (server.folder / "log").read_text().count(CANCELLED)


async def is_clean(database: Database) -> bool:
    """Return whether the only connection of a database comes back to it, and answers what it is asked."""
    async with asyncio.timeout(START_SECONDS):
        while database.measures()["sprocket_database_connections_idle"] != 1:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.001)
    read = [number async for chunk in database.stream(int, numbers(0)) for number in chunk]
    return database.measures()["sprocket_database_connections_open"] == 1 and read == list(range(1, 5001))


async def test_a_stream_that_is_not_read_to_its_end_leaves_its_connection_free(database_url: str) -> None:
    """The rows that were fetched ahead of its reader are let go of, and the only connection serves the next."""
    database = await open_database(database_url, connections=1)
    numbers = "SELECT n FROM generate_series(1, 50000) AS n"
    stream = database.stream(int, numbers)
    first = await anext(stream)
    await stream.aclose()
    again = [number async for chunk in database.stream(int, numbers) for number in chunk]
    await database.close()

    assert list(range(1, 50_001)) == again
    assert again[: len(first)] == first


@pytest.mark.parametrize("reads_on", [True, False])
async def test_what_fails_ahead_of_a_streams_reader_is_told_where_he_comes_to_it(
    database_url: str, *, reads_on: bool
) -> None:
    """He gets every chunk before it, and one who goes before that leaves no error behind that nobody has looked at."""
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
    database = await open_database(database_url, connections=1)
    stream = database.stream(int, "SELECT 10000 / (2500 - n) FROM generate_series(1, 5000) AS n")
    lengths = [len(await anext(stream)), len(await anext(stream))]
    await asyncio.sleep(0.2)
    if reads_on:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await anext(stream)
    await stream.aclose()
    del stream
    gc.collect()
    await database.close()

    assert [1000, 1000] == lengths
    assert [] == unseen


async def test_what_the_server_takes_is_slow_however_long_its_reader_takes(
    database_url: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Rows that came while their reader was busy elsewhere took the database as long as they took."""
    database = await open_database(database_url, connections=1)
    monkeypatch.setattr(slow, "seconds", 0.3)
    async with aclosing(database.stream(int, numbers(0.4))) as stream:
        await anext(stream)
        await asyncio.sleep(0.8)
        await anext(stream)
    await database.close()
    told = logged.lines("slow statement", operation="list", statement="list generate_series")

    assert [] != told
    assert max(line["ms"] for line in told) >= 400


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("scans", [False, True])
async def test_who_leaves_a_stream_cancels_its_statement_only_where_it_scans(
    postgresql: PostgreSQLServer, database_url: str, *, scans: bool, is_cancelled: bool
) -> None:
    """Rows along an index are waited for: the server's log would tell of an error, and somebody be woken up."""
    database = await open_database(database_url, connections=1)
    before = times_cancelled(postgresql)
    stream = database.stream(int, numbers(5 if scans else 0.3), scans=scans)
    await anext(stream)
    if is_cancelled:
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    await stream.aclose()
    clean = await is_clean(database)
    await database.close()

    assert clean
    assert int(scans) == times_cancelled(postgresql) - before


@pytest.mark.parametrize("scans", [False, True])
async def test_who_is_told_to_go_again_and_again_leaves_a_clean_connection(database_url: str, *, scans: bool) -> None:
    """He waits no longer for the rows under way, and goes once nothing more is under way."""
    database = await open_database(database_url, connections=1)
    stream = database.stream(int, numbers(5), scans=scans)
    await anext(stream)
    leaving = asyncio.ensure_future(stream.aclose())
    for _ in range(3):
        await asyncio.sleep(0)
        leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    assert await is_clean(database)
    await database.close()


def test_one_caller_leaves_places_for_whole_lists_to_others_where_connections_are_few(database_url: str) -> None:
    """He has half of those that there are, and there are no more than a third of the connections."""
    settings = Settings(database_url=database_url, database_connections=10, max_lists=8)
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2", verify=TLS)
    with (
        service_with_many_records(settings) as running,
        Client(running.address) as hog,
        httpx.Client(transport=elsewhere, trust_env=False) as other,
        as_many_stopped_readers_as_allowed(hog) as readers,
    ):
        read = other.head(f"{running.address}{BASE_PATH}/production")

    assert (2, 200) == (len(readers), read.status_code)
