"""The feed on PostgreSQL, where transactions become visible in another order than they begin: nothing is missed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random

import asyncpg
import pytest

from feeds import NEW, Held, add_named, everything_behind, follow, opened, requests
from log_lines import Logged
from postgresql_server import Connection, PostgreSQLServer
from sprocket_factory.database import Database, Overtaken, Transaction, postgresql_ordering
from sprocket_factory.entities.change import Change
from sprocket_factory.entities.change_feed import find_last_position
from sprocket_factory.entities.sprocket import add_sprocket

SERVERS = 3
WRITES = 60

OLD_TRANSACTION = 3000
"""By its number; a server that was just made is far from it."""

SOON_SECONDS = 10
"""It takes a tenth of a second where nothing else is done."""


@pytest.fixture
def database_url(postgresql: PostgreSQLServer) -> str:
    """Return the address of a database in which nothing is stored yet."""
    return postgresql.new_database()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give an open database."""
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[Database]:
    """Give the same database as another server has it."""
    del database  # it has come first
    async with opened(database_url) as other:
        yield other


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """Give a connection to the database past the service."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_changes_that_become_visible_out_of_order_are_neither_missed_nor_seen_twice(
    database: Database, other: Database
) -> None:
    """The first to write is the last to commit: whoever has read the others meanwhile still gets it, once."""
    first = Held(database, "first")
    await first.begin()
    second = Held(other, "second")
    await second.begin()
    await add_named(other, "third")
    seen = await everything_behind(database, 0)
    await second.end()
    seen += await everything_behind(database, seen[-1].id)
    await first.end()
    seen += await everything_behind(database, seen[-1].id)

    assert ["third", "second", "first"] == requests(seen)
    assert [] == await everything_behind(other, seen[-1].id)


async def test_a_follower_on_any_server_sees_the_same(database: Database, other: Database) -> None:
    """A position that one server has given is good on another, and stands for the same changes there."""
    held = Held(database, "held")
    await held.begin()
    for number in range(3):
        await add_named((database, other)[number % 2], str(number))
    here = await everything_behind(database, 0)
    await held.end()
    there = await everything_behind(other, here[1].id)

    assert ["0", "1", "2"] == requests(here)
    assert ["2", "held"] == requests(there)


async def test_followers_miss_nothing_while_many_transactions_end_in_any_order(database_url: str) -> None:
    """Several servers write, each keeps its transactions open for a while, and a follower on each sees all, once."""
    random = Random(1906)  # noqa: S311 - not for secrets

    async def linger(tx: Transaction) -> None:
        """Add a sprocket, and commit some time later."""
        await add_sprocket(tx, NEW)
        await asyncio.sleep(random.choice([0, 0, 0.01, 0.05]))

    async def write(database: Database, name: str) -> None:
        for number in range(WRITES // SERVERS):
            await database.write(linger, by="test", request_id=f"{name}-{number}")

    async with opened(database_url) as one, opened(database_url) as two, opened(database_url) as three:
        servers = (one, two, three)
        ended = asyncio.Event()
        following = [asyncio.ensure_future(follow(server, ended)) for server in servers]
        await asyncio.gather(
            *(write(server, f"{number}-{by}") for number, server in enumerate(servers) for by in (1, 2))
        )
        ended.set()
        seen = await asyncio.gather(*following)

    assert [[change.id for change in seen[0]]] * SERVERS == [[change.id for change in one] for one in seen]
    assert 2 * WRITES == len(set(requests(seen[0]))) == len(seen[0])


async def test_a_transaction_that_stays_open_holds_up_nobody(
    database: Database, postgresql: PostgreSQLServer, connection: Connection
) -> None:
    """Whether it has written to this database or to another one of the server: what others commit is seen at once."""
    elsewhere = await asyncpg.connect(postgresql.new_database())
    for session in (connection, elsewhere):
        await session.execute("BEGIN; UPDATE migrations SET name = name WHERE number = 1")
    await add_named(database, "beside them")
    seen = await everything_behind(database, 0)
    for session in (connection, elsewhere):
        await session.execute("ROLLBACK")
    await elsewhere.close()

    assert ["beside them"] == requests(seen)


async def test_a_reader_who_stays_for_hours_holds_up_nobody(database: Database, connection: Connection) -> None:
    """A backup sees one state of the database from its beginning to its end; the feed goes on beside it."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM changes")
    seen: list[Change] = []
    for number in range(3):
        await add_named(database, str(number))
        seen += await everything_behind(database, seen[-1].id if seen else 0)
    there = await connection.fetchval("SELECT count(*) FROM changes")
    await connection.execute("ROLLBACK")

    assert (["0", "1", "2"], 0) == (requests(seen), there)


async def test_changes_get_their_positions_though_nobody_reads(database: Database, connection: Connection) -> None:
    """Soon after a write the server itself has put its entry in order."""
    await add_named(database, "one")
    await wait_for_order(connection)

    assert ["one"] == [row[0] for row in await connection.fetch("SELECT request_id FROM changes")]


async def test_changes_get_their_positions_after_a_failure(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """While they cannot be put in order the log says so, and writes go on; later it is done without a further write."""
    monkeypatch.setattr(postgresql_ordering, "MAX_PAUSE_SECONDS", 0.1)
    await connection.execute("ALTER TABLE changes RENAME TO hidden")
    for number in range(3):
        await add_named(database, str(number))
    async with asyncio.timeout(SOON_SECONDS):
        while "wait for their place" not in logged.text:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
    await connection.execute("ALTER TABLE hidden RENAME TO changes")
    await wait_for_order(connection)

    assert ["0", "1", "2"] == [row[0] for row in await connection.fetch("SELECT request_id FROM changes ORDER BY id")]


async def wait_for_order(connection: Connection) -> None:
    """Wait until nothing waits for its position any more."""
    async with asyncio.timeout(SOON_SECONDS):
        while await connection.fetchval("SELECT count(*) FROM new_changes"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_server_that_ends_leaves_its_changes_to_the_others(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had committed and not yet put in order is found by whoever reads next."""
    monkeypatch.setattr(postgresql_ordering, "PAUSE_SECONDS", 60)
    async with opened(database_url) as ending:
        await add_named(ending, "last words")

    assert ["last words"] == requests(await everything_behind(database, 0))


async def test_changes_that_have_waited_long_are_put_in_order_some_at_a_time(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands are moved in the order in which they were written, however many are moved at once."""
    monkeypatch.setattr(postgresql_ordering, "MAX_MOVED", 100)
    monkeypatch.setattr(postgresql_ordering, "MOVE", postgresql_ordering.MOVE.replace("10000", "100"))
    await connection.execute(
        "INSERT INTO new_changes (at, actor, action, entity, key, records, request_id)"
        " SELECT now(), 'test', 'create', 'sprocket', '1', 1, number FROM generate_series(1, 350) AS number"
    )
    await database.order_changes()
    seen = await database.all("SELECT request_id FROM changes ORDER BY id")

    assert [(str(number),) for number in range(1, 351)] == [tuple(row) for row in seen]


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
async def test_an_entry_is_put_in_order_once_though_several_try(
    postgresql: PostgreSQLServer, database_url: str, connection: Connection, level: str
) -> None:
    """Of servers that do so at the same moment each takes what the others have not, whatever the database's default."""
    postgresql.isolate(database_url, level)
    await connection.execute(
        "INSERT INTO new_changes (at, actor, action, entity, key, records, request_id)"
        " SELECT now(), 'test', 'create', 'sprocket', '1', 1, number FROM generate_series(1, 2000) AS number"
    )
    async with opened(database_url) as one, opened(database_url) as two:
        await asyncio.gather(*(database.order_changes() for database in (one, two) * 4))
        last = await find_last_position(one)
    seen = await connection.fetch("SELECT request_id FROM changes ORDER BY id")

    assert ([(str(number),) for number in range(1, 2001)], 2000) == ([tuple(row) for row in seen], last)


async def test_a_write_that_was_run_again_leaves_one_entry(database: Database) -> None:
    """What it did in vain was taken back with its entry."""
    runs = 0

    async def overtaken_twice(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await add_sprocket(tx, NEW)
        if runs < 3:
            raise Overtaken

    await database.write(overtaken_twice, by="test", request_id="thrice")

    assert (3, ["thrice"]) == (runs, requests(await everything_behind(database, 0)))


@pytest.fixture
def younger() -> Iterator[PostgreSQLServer]:
    """Run another server, which has hardly seen a transaction."""
    with PostgreSQLServer() as server:
        yield server


async def move(here: Connection, there: Connection, table: str) -> None:
    """Move a table as a dump does: its rows, and where its ids go on."""
    rows = await here.fetch(f"SELECT * FROM {table}")
    last = await here.fetchval("SELECT pg_sequence_last_value(pg_get_serial_sequence($1, 'id'))", table)
    await there.copy_records_to_table(table, records=[tuple(row) for row in rows])
    await there.fetchval("SELECT setval(CAST(pg_get_serial_sequence($1, 'id') AS regclass), $2)", table, last)


async def test_the_feed_goes_on_after_a_move_to_a_younger_server(
    database: Database, connection: Connection, younger: PostgreSQLServer
) -> None:
    """There transactions count from the beginning again. Positions are data like any other, and stay what they were."""
    while await connection.fetchval("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)") < OLD_TRANSACTION:
        pass
    for number in range(3):
        await add_named(database, str(number))
    position = (await everything_behind(database, 0))[1].id
    url = younger.new_database()
    there = await asyncpg.connect(url)
    for table in ("changes", "sprockets"):
        await move(connection, there, table)
    await there.close()
    async with opened(url) as moved:
        await add_named(moved, "after")
        seen = await everything_behind(moved, position)

    assert ["2", "after"] == requests(seen)
