"""A write on PostgreSQL is done once, whatever happens to its transaction and its connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import pytest

from bulk import a_row, add_factory, as_csv, counted, send, stored
from harness import Client, Service, a_sprocket
from postgresql_proxy import Fate, Proxy, Way, arrives_after, do_unheard, is_done_unheard, is_lost
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Database, Transaction, open_database
from sprocket_factory.entities import production_import
from sprocket_factory.entities.factory import NewFactory, share_incoming_time_zones
from sprocket_factory.entities.factory import add_factory as make_factory
from sprocket_factory.entities.production_import import Merged, Spool, merge_production
from sprocket_factory.entities.sprocket import NewSprocket, Sprocket, add_sprocket
from sprocket_factory.errors import Busy, Invalid
from sprocket_factory.settings import Settings

NEW = NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=25.4)

MOMENT = 1_611_194_818_000_000

MAX_ATTEMPTS = 5

FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mthe server is going away\0\0"
FAREWELL = b"E" + (len(FAREWELL) + 4).to_bytes(4, "big") + FAREWELL
"""What a server sends that is told to end."""

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
def database_url(postgresql: PostgreSQLServer) -> str:
    """Return the address of a database in which nothing is stored yet."""
    return postgresql.new_database()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give an open database."""
    database = await open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """Give a way to the database on which connections can be lost."""
    with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def service(proxy: Proxy) -> Iterator[Service]:
    """Run a service that reaches its database through the proxy, with as few connections as may be."""
    with Service(Settings(database_url=proxy.url, database_connections=1)) as running:
        yield running


async def count(database: Database) -> int:
    """Return how many sprockets there are."""
    row = await database.one("SELECT count(*) FROM sprockets")
    assert row is not None
    return int(row[0])


class Attempts:
    """A write that adds a sprocket, and what happens to its transaction then: another thing each time it is run."""

    def __init__(self, *deeds: Callable[[Transaction], Any]) -> None:
        self.deeds = iter(deeds)
        self.number = 0

    async def add(self, tx: Transaction, new: NewSprocket) -> Sprocket:
        """Add the sprocket, and let happen what happens this time."""
        self.number += 1
        sprocket = await add_sprocket(tx, new)
        if deed := next(self.deeds, None):
            await deed(tx)
        return sprocket


def raising(state: str) -> Callable[[Transaction], Any]:
    """Return what fails as the database does in this SQLSTATE."""

    async def fail(tx: Transaction) -> None:
        await tx.one(f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$")

    return fail


SERIALIZATION_FAILURE = raising("40001")
DEADLOCK = raising("40P01")


async def end_own_session(tx: Transaction) -> None:
    """Lose the connection, and notice it at once."""
    await tx.one("SELECT pg_terminate_backend(pg_backend_pid())")


def end_session_unseen(postgresql: PostgreSQLServer) -> Callable[[Transaction], Any]:
    """Return what lets the connection be lost while nobody listens: its writer goes on to COMMIT."""

    async def end(tx: Transaction) -> None:
        row = await tx.one("SELECT pg_backend_pid()")
        assert row is not None
        await asyncio.to_thread(postgresql.ask, f"SELECT pg_terminate_backend({row[0]}, 5000)")

    return end


@pytest.mark.parametrize("failure", [SERIALIZATION_FAILURE, DEADLOCK], ids=["serialization failure", "deadlock"])
@pytest.mark.parametrize("times", [1, MAX_ATTEMPTS - 1])
async def test_fault_05_a_write_that_the_database_asks_to_repeat_is_repeated(
    database: Database, failure: Callable[[Transaction], Any], times: int
) -> None:
    """Its caller does not notice, and what it did in vain has left nothing."""
    attempts = Attempts(*[failure] * times)
    await database.write(attempts.add, NEW, by="test")

    assert (times + 1, 1) == (attempts.number, await count(database))


async def test_fault_05_two_writes_that_stand_in_each_others_way_are_both_done(database: Database) -> None:
    """Each holds what the other wants next; one of them is run again, and no change is lost."""
    for _ in range(2):
        await database.write(add_sprocket, NEW, by="test")
    begun = [asyncio.Event(), asyncio.Event()]
    runs = 0

    async def one_more_tooth(tx: Transaction, first: int) -> None:
        nonlocal runs
        runs += 1
        for sprocket_id in (first + 1, 2 - first):
            await tx.run("UPDATE sprockets SET teeth = teeth + 1 WHERE id = :id", id=sprocket_id)
            begun[first].set()
            await begun[1 - first].wait()

    await asyncio.gather(*(database.write(one_more_tooth, first, by="test") for first in (0, 1)))

    assert runs > 2
    assert [(22,), (22,)] == [tuple(row) for row in await database.all("SELECT teeth FROM sprockets")]


async def test_fault_05_a_merge_that_another_has_overtaken_is_run_again(database: Database) -> None:
    """It sees what the other has stored meanwhile, and says rightly what became of its own rows."""
    await database.write(make_factory, NewFactory(name="Sheffield"), by="test")
    overtaken = False

    async def merge_late(tx: Transaction, spool: Spool) -> Merged:
        nonlocal overtaken
        await tx.one("SELECT 1 FROM production")  # from here on it sees one state of the database
        if not overtaken:
            overtaken = True
            with closing(a_spool(7)) as other:
                await database.write(merge_production, other, "replace", by="test", alone=True)
        return await merge_production(tx, spool, "replace")

    with closing(a_spool(8)) as spool:
        merged = await database.write(merge_late, spool, by="test", alone=True)
    actual = {row[0] for row in await database.all("SELECT sprocket_production_actual FROM production")}

    assert Merged(records=100, created=0, replaced=100, unchanged=0, skipped=0) == merged
    assert {8} == actual


def test_a_factory_that_is_made_while_its_records_are_merged_is_known(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement sees what is committed by then: a merge that knows it but not its time zone is run again."""
    made: list[int] = []

    async def share_and_let_others_go_on(tx: Transaction) -> dict[int, str]:
        time_zones = await share_incoming_time_zones(tx)
        if not made:
            made.append(await asyncio.to_thread(add_factory, engineer))
        return time_zones

    monkeypatch.setattr(production_import, "share_incoming_time_zones", share_and_let_others_go_on)
    with Service(Settings(database_url=database_url)) as running, Client(running.address) as engineer:
        answer = send(engineer, "text/csv", as_csv([a_row(1)]))

    assert [1] == made
    assert (200, counted(1, created=1)) == (answer.status_code, answer.json())


def a_spool(actual: int) -> Spool:
    """Return a hundred records of the first factory."""
    spool = Spool()
    for number in range(100):
        spool.add(1, MOMENT + number, actual, 9)
    spool.finish()
    return spool


async def test_fault_05_a_write_is_repeated_five_times_at_most(database: Database) -> None:
    """Then it is Busy and not done at all."""
    attempts = Attempts(*[SERIALIZATION_FAILURE] * 100)
    with pytest.raises(Busy):
        await database.write(attempts.add, NEW, by="test")

    assert (MAX_ATTEMPTS, 0) == (attempts.number, await count(database))


def test_fault_05_a_write_that_never_succeeds_is_503(
    service: Service, engineer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller is told to come again, and nothing is stored."""
    attempts = Attempts(*[DEADLOCK] * 100)
    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.add_sprocket", attempts.add)
    answer = engineer.post("/sprockets", json=a_sprocket())

    assert (503, "/problems/busy") == (answer.status_code, answer.json()["type"])
    assert int(answer.headers["Retry-After"]) > 0
    assert [] == engineer.get("/sprockets").json()
    assert service.address


async def test_a_refusal_is_not_repeated(database: Database) -> None:
    """What the write function itself refuses is refused once, and leaves nothing."""

    async def refuse(_tx: Transaction) -> None:
        raise Invalid("No.")

    attempts = Attempts(refuse)
    with pytest.raises(Invalid):
        await database.write(attempts.add, NEW, by="test")

    assert (1, 0) == (attempts.number, await count(database))


@pytest.mark.parametrize("lost", ["noticed", "unnoticed"])
@pytest.mark.parametrize("kind", ["short", "alone"])
async def test_fault_05_a_connection_lost_before_commit_is_no_loss(
    postgresql: PostgreSQLServer, database: Database, lost: str, kind: str
) -> None:
    """The write is run again on another connection, and stored once."""
    attempts = Attempts(end_own_session if lost == "noticed" else end_session_unseen(postgresql))
    sprocket = await database.write(attempts.add, NEW, by="test", alone=kind == "alone")

    assert (2, 1) == (attempts.number, await count(database))
    assert sprocket.id == (await database.all("SELECT id FROM sprockets"))[0][0]


async def test_fault_05_a_farewell_between_two_statements_is_no_loss(proxy: Proxy) -> None:
    """A server that ends says so before it hangs up; a write that goes on in between is run again."""
    database = await open_database(proxy.url, connections=1)

    async def hear_farewell(_tx: Transaction) -> None:
        proxy.say(FAREWELL)
        await asyncio.sleep(0.05)

    attempts = Attempts(hear_farewell)
    try:
        await database.write(attempts.add, NEW, by="test")
        stored = await count(database)
    finally:
        await database.close()

    assert (2, 1) == (attempts.number, stored)


@pytest.mark.parametrize("fate", [is_lost, is_done_unheard])
def test_fault_05_a_connection_lost_during_commit_is_asked_after(
    service: Service, engineer: Client, proxy: Proxy, fate: Fate
) -> None:
    """Whether the COMMIT was done or not, the answer is 201 and the thing is stored once."""
    proxy.next_commit(fate)
    answer = engineer.post("/sprockets", json=a_sprocket())

    assert proxy.met.is_set()
    assert 201 == answer.status_code
    assert [answer.json()] == engineer.get("/sprockets").json()
    assert service.address


@pytest.mark.parametrize("fate", [is_lost, is_done_unheard])
def test_fault_05_a_merge_whose_commit_goes_unheard_is_not_run_again(
    engineer: Client, proxy: Proxy, fate: Fate
) -> None:
    """Its rows are told of as created: run again after it was done it would find them all unchanged."""
    factory_id = add_factory(engineer)
    proxy.next_commit(fate)
    answer = send(engineer, "text/csv", as_csv([a_row(factory_id, second) for second in range(1000)]))

    assert proxy.met.is_set()
    assert (200, counted(1000, created=1000)) == (answer.status_code, answer.json())
    assert 1000 == len(stored(engineer, factory_id))


def test_fault_05_a_commit_that_is_still_under_way_is_waited_for(
    postgresql: PostgreSQLServer, engineer: Client, proxy: Proxy
) -> None:
    """As long as the database has not decided, nobody is told anything."""
    late = Event()
    proxy.next_commit(arrives_after(late))
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(engineer.post, "/sprockets", json=a_sprocket())
        while not postgresql.has_waiters() and not waiting.done():
            pass
        was_told = waiting.done()
        late.set()

    assert not was_told
    assert 201 == waiting.result().status_code
    assert [waiting.result().json()] == engineer.get("/sprockets").json()


def test_fault_05_where_nobody_can_say_what_was_done_the_caller_is_told_so(
    engineer: Client, database_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its server gone as well the outcome is unknown; sent again with its key, it turns out to be done once."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_writing.OUTCOME_SECONDS", 0.3)

    def is_done_and_its_server_gone(way: Way, data: bytes) -> None:
        do_unheard(way, data)
        proxy.refuse_all()

    proxy.next_commit(is_done_and_its_server_gone)
    unknown = engineer.post("/sprockets", json=a_sprocket(), headers=KEY)
    with Service(Settings(database_url=database_url)) as other, Client(other.address) as again:
        replayed = again.post("/sprockets", json=a_sprocket(), headers=KEY)
        stored_then = again.get("/sprockets").json()

    assert (503, "/problems/outcome-unknown") == (unknown.status_code, unknown.json()["type"])
    assert int(unknown.headers["Retry-After"]) > 0
    assert (201, "true") == (replayed.status_code, replayed.headers.get("Idempotent-Replayed"))
    assert [replayed.json()] == stored_then
