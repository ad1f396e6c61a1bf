"""PostgreSQL away, restarting, locked or crowded: what callers are told, and that nothing acknowledged is lost."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import unwrap

import pytest
from click.testing import CliRunner

from harness import Client, Program, Service, a_sprocket, wait_for_a_lock, wait_in
from log_lines import errors_in, lines_in
from posters import REFUSALS, start_posters, wait_for_more
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.database import Transaction
from sprocket_factory.database.postgresql_pool import SERVER_SETTINGS, acquired
from sprocket_factory.settings import Settings

OUTAGES = int(os.environ.get("OUTAGES", "3"))

SOON_SECONDS = 2


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL of the tests' own, which they may stop, and have to start again."""
    with PostgreSQLServer() as server:
        yield server


def test_fault_04_outages_under_load_lose_nothing(
    start: Callable[..., Program],
    own_server: PostgreSQLServer,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Callers get 503 with Retry-After in time and nothing else; the service recovers by itself; all is stored once.

    PostgreSQL is killed, and every other time shut down at once, when it still says so to those who are connected. How
    long a 503 took is what the service says of it. Its callers share a process with one another and with the tests, so
    what they saw may be twice that.
    """
    server = start("serve", "--port", "0", "--database-url", own_server.new_database())
    address = server.wait_for_address()
    posters = start_posters(address)
    waited: list[float] = []
    for number in range(OUTAGES):
        wait_for_more(posters)
        if number % 2:
            own_server.stop("QUIT")
        else:
            own_server.kill()
        own_server.start()
        back = time.monotonic()
        while max(poster.last_success for poster in posters) < back:
            time.sleep(0.005)
            assert time.monotonic() - back < 20, "the service did not recover"
        waited.append(max(poster.last_success for poster in posters) - back)
    wait_for_more(posters)
    for poster in posters:
        poster.stop()
    acknowledged = [sprocket for poster in posters for sprocket in poster.acknowledged]
    with Client(address) as viewer:
        stored = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]
    stopped = server.stop()
    refused = [line["ms"] / 1000 for line in lines_in(server.output) if line.get("status") == 503]
    seen = max(poster.longest_refusal for poster in posters)
    record_testsuite_property("outages", OUTAGES)
    record_testsuite_property("acknowledged writes", len(acknowledged))
    record_testsuite_property("refused", len(refused))
    record_testsuite_property("most seconds until a refusal", round(max(refused), 2))
    record_testsuite_property("most seconds until a refusal as callers saw it", round(seen, 2))
    record_testsuite_property("most seconds until the next success", round(max(waited), 2))

    assert max(waited) < SOON_SECONDS
    assert max(refused) < SOON_SECONDS
    assert seen < 2 * SOON_SECONDS
    assert REFUSALS >= set().union(*(poster.refusals for poster in posters)), server.output
    assert sorted(acknowledged) == sorted(set(acknowledged))
    assert set() == set(acknowledged) - set(stored)
    assert len(stored) - len(acknowledged) <= len(posters)  # the last of each may have been stored without an answer
    assert (0, []) == (stopped, errors_in(server.output))


def test_fault_04_a_database_that_is_away_is_said_at_once(
    start: Callable[..., Program], own_server: PostgreSQLServer
) -> None:
    """Reading and writing are 503 `unavailable` with Retry-After, as long as it lasts and no longer."""
    server = start("serve", "--port", "0", "--database-url", own_server.new_database())
    with Client(server.wait_for_address()) as caller:
        own_server.stop()
        away = [caller.get("/sprockets"), caller.get("/sprockets/1"), caller.post("/sprockets", json=a_sprocket())]
        own_server.start()
        back = [caller.get("/sprockets"), caller.post("/sprockets", json=a_sprocket())]

    assert [(503, "/problems/unavailable")] * 3 == [(one.status_code, one.json()["type"]) for one in away]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in away)
    assert max(answer.elapsed.total_seconds() for answer in away) < SOON_SECONDS
    assert [200, 201] == [answer.status_code for answer in back]


def test_fault_04_nothing_is_begun_without_the_database(
    own_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits a little for a database that is starting, then says which one does not answer."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_opening.START_SECONDS", 0.5)
    url = own_server.new_database()
    own_server.stop()
    done = CliRunner().invoke(cli, ["migrate", "--database-url", url])
    own_server.start()

    assert 1 == done.exit_code
    assert f"{url} cannot be opened" in done.stderr


def test_fault_06_a_row_that_others_hold_is_busy_and_reading_goes_on(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that waits too long for a lock is 503 with Retry-After; everybody else is served meanwhile."""
    monkeypatch.setitem(SERVER_SETTINGS, "lock_timeout", "1s")
    held, release = threading.Event(), threading.Event()

    async def hold(tx: Transaction) -> None:
        await tx.lock("SELECT teeth FROM sprockets WHERE id = 1")
        held.set()
        await wait_in(tx, release)

    settings = Settings(database_url=postgresql.new_database())
    with Service(settings) as service, Client(service.address) as engineer, ThreadPoolExecutor() as writers:
        engineer.post("/sprockets", json=a_sprocket())
        holding = asyncio.run_coroutine_threadsafe(service.database.write(hold, by="test"), service.loop)
        assert held.wait(10)
        writing = writers.submit(engineer.put, "/sprockets/1", json=a_sprocket(teeth=40))
        wait_for_a_lock(service)
        meanwhile = [engineer.get("/sprockets/1").json()["teeth"] for _ in range(100)]
        is_waiting = not writing.done()
        refused = writing.result()
        release.set()
        holding.result(10)
        stored = engineer.get("/sprockets/1").json()

    assert is_waiting
    assert [20] * 100 == meanwhile
    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert "Retry-After" in refused.headers
    assert 20 == stored["teeth"]


def test_fault_06_where_every_connection_is_in_use_the_next_is_told_in_time(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exhausted pool is 503 `busy`, and whoever comes after it is free is served."""
    monkeypatch.setitem(unwrap(acquired).__kwdefaults__, "seconds", SOON_SECONDS / 4)
    with Service(Settings(database_url=postgresql.new_database(), database_connections=2)) as service:
        release = threading.Event()

        async def hold(tx: Transaction) -> None:
            await wait_in(tx, release)

        holding = [
            asyncio.run_coroutine_threadsafe(service.database.write(hold, by="test"), service.loop) for _ in range(2)
        ]
        with Client(service.address) as viewer:
            description = viewer.get(f"{service.address}/openapi.json")
            refused = viewer.get("/sprockets/1")
            release.set()
            for held in holding:
                held.result(20)
            served = viewer.get("/sprockets")

    assert 200 == description.status_code
    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert "Retry-After" in refused.headers
    assert refused.elapsed.total_seconds() < SOON_SECONDS
    assert 200 == served.status_code
