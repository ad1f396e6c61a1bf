"""PostgreSQL away, restarting, locked or crowded: what callers are told, and that nothing acknowledged is lost."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from click.testing import CliRunner

from harness import BASE_PATH, START_SECONDS, Client, Program, Service, a_sprocket, wait_in
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.database import Transaction
from sprocket_factory.database.postgresql_pool import SERVER_SETTINGS
from sprocket_factory.settings import Settings

OUTAGES = 20
CALLERS = 4

FORGIVEN = {"/problems/unavailable", "/problems/busy", "/problems/outcome-unknown"}


@pytest.fixture
def own_server() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL of the test's own, which it may kill."""
    with PostgreSQLServer() as server:
        yield server


@contextmanager
def holding(service: Service, sql: str, connections: int = 1) -> Iterator[None]:
    """Do something on so many of a service's connections, and let their transactions stand open."""
    release = threading.Event()
    done = threading.Barrier(connections + 1)

    async def hold(tx: Transaction) -> None:
        await tx.one(sql)
        await asyncio.to_thread(done.wait, START_SECONDS)
        await wait_in(tx, release)

    writes = [
        asyncio.run_coroutine_threadsafe(service.database.write(hold, by="test"), service.loop)
        for _ in range(connections)
    ]
    done.wait(START_SECONDS)
    try:
        yield
    finally:
        release.set()
        for write in writes:
            write.result(START_SECONDS)


class Poster(threading.Thread):
    """Posts sprockets one after the other until it is told to stop; it knows what was acknowledged."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.refusals: set[tuple[int, str, bool]] = set()
        self.last_success = 0.0
        self._address = address
        self._number = number
        self._stopping = threading.Event()

    def run(self) -> None:
        """Post. Each sprocket carries a key, so that one whose outcome is unknown can be sent again."""
        with httpx.Client(base_url=self._address + BASE_PATH, timeout=30, trust_env=False) as client:
            key = 0
            while not self._stopping.is_set():
                answer = client.post(
                    "/sprockets", json=a_sprocket(), headers={"Idempotency-Key": f"{self._number}-{key}"}
                )
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["id"])
                    self.last_success = time.monotonic()
                    key += 1
                else:
                    self.refusals.add((answer.status_code, answer.json()["type"], "Retry-After" in answer.headers))
                    time.sleep(0.02)

    def stop(self) -> None:
        """Let it end."""
        self._stopping.set()
        self.join()


def test_fault_04_twenty_outages_under_load_lose_nothing(
    start: Callable[..., Program], own_server: PostgreSQLServer
) -> None:
    """Callers get 503 with Retry-After and nothing else; the service recovers by itself; each key is stored once."""
    server = start("serve", "--port", "0", "--database-url", own_server.new_database())
    address = server.wait_for_address()
    posters = [Poster(address, number) for number in range(CALLERS)]
    for poster in posters:
        poster.start()
    for _ in range(OUTAGES):
        own_server.stop("QUIT")
        own_server.start()
        back = time.monotonic()
        while max(poster.last_success for poster in posters) < back:
            time.sleep(0.005)
            assert time.monotonic() - back < 20, "the service did not recover"
    for poster in posters:
        poster.stop()
    acknowledged = [sprocket for poster in posters for sprocket in poster.acknowledged]
    with Client(address) as viewer:
        stored = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]

    assert {(503, type_, True) for type_ in FORGIVEN} >= set().union(*(poster.refusals for poster in posters))
    assert sorted(acknowledged) == sorted(set(acknowledged))
    assert set() == set(acknowledged) - set(stored)
    assert len(stored) - len(acknowledged) <= CALLERS  # the last of each may have been stored without an answer
    assert "ERROR" not in server.output


def test_fault_04_a_database_that_is_away_is_said_at_once(
    start: Callable[..., Program], own_server: PostgreSQLServer
) -> None:
    """Reading and writing are 503 `unavailable` with Retry-After within 2 s, as long as it lasts and no longer."""
    server = start("serve", "--port", "0", "--database-url", own_server.new_database())
    with Client(server.wait_for_address()) as caller:
        caller.timeout = httpx.Timeout(2)
        own_server.stop()
        away = [caller.get("/sprockets"), caller.get("/sprockets/1"), caller.post("/sprockets", json=a_sprocket())]
        own_server.start()
        back = [caller.get("/sprockets"), caller.post("/sprockets", json=a_sprocket())]

    assert [(503, "/problems/unavailable")] * 3 == [(one.status_code, one.json()["type"]) for one in away]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in away)
    assert [200, 201] == [answer.status_code for answer in back]


def test_fault_04_nothing_is_begun_without_the_database(
    own_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command waits a little for a database that is starting, then says which one does not answer."""
    monkeypatch.setattr("sprocket_factory.database.postgresql.START_SECONDS", 0.5)
    url = own_server.new_database()
    own_server.stop()
    refused = CliRunner().invoke(cli, ["migrate", "--database-url", url])
    own_server.start()

    assert 1 == refused.exit_code
    assert f"{url} cannot be opened" in refused.stderr


def test_fault_06_a_row_that_others_hold_is_busy_and_reading_goes_on(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that waits too long for a lock is 503 with Retry-After; everybody else is served meanwhile."""
    monkeypatch.setitem(SERVER_SETTINGS, "lock_timeout", "300ms")
    change = "UPDATE sprockets SET teeth = 30 WHERE id = 1"
    with Service(Settings(database_url=postgresql.new_database())) as service, Client(service.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket())
        with holding(service, change), ThreadPoolExecutor() as others, Client(service.address) as viewer:
            waiting = others.submit(engineer.put, "/sprockets/1", json=a_sprocket(teeth=40))
            meanwhile = {viewer.get("/sprockets/1").json()["teeth"]}
            while not waiting.done():
                meanwhile.add(viewer.get("/sprockets/1").json()["teeth"])
        refused = waiting.result()
        after = engineer.put("/sprockets/1", json=a_sprocket(teeth=50))

    assert {20} == meanwhile
    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert int(refused.headers["Retry-After"]) > 0
    assert (200, 50) == (after.status_code, after.json()["teeth"])


def test_fault_06_where_every_connection_is_in_use_the_next_is_told_in_time(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exhausted pool is 503 `busy`, what needs no connection is served, and so is everybody once one is free."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_pool.ACQUIRE_SECONDS", 0.3)
    settings = Settings(database_url=postgresql.new_database(), database_connections=2)
    with Service(settings) as service, Client(service.address) as engineer:
        with holding(service, "SELECT 1", 2):
            description = engineer.get(f"{service.address}/openapi.json")
            refused = [engineer.get("/sprockets/1"), engineer.post("/sprockets", json=a_sprocket())]
        served = engineer.get("/sprockets")

    assert 200 == description.status_code
    assert [(503, "/problems/busy")] * 2 == [(answer.status_code, answer.json()["type"]) for answer in refused]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert (200, []) == (served.status_code, served.json())


def test_fault_06_where_the_database_takes_no_more_connections_the_next_is_told_so(
    postgresql: PostgreSQLServer,
) -> None:
    """The limit of the database itself is 503 `busy` as well, and passes when others have gone."""
    url = postgresql.new_database()
    with Service(Settings(database_url=url)) as service, Client(service.address) as engineer:
        postgresql.ask(f"ALTER DATABASE {url.rpartition('/')[2]} CONNECTION LIMIT 1")
        with holding(service, "SELECT 1"):
            refused = [engineer.get("/sprockets/1"), engineer.post("/sprockets", json=a_sprocket())]
        served = engineer.get("/sprockets")

    assert [(503, "/problems/busy")] * 2 == [(answer.status_code, answer.json()["type"]) for answer in refused]
    assert (200, []) == (served.status_code, served.json())


def test_a_read_that_takes_too_long_is_given_up(postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 503 with Retry-After instead of an answer that nobody waits for."""
    monkeypatch.setitem(SERVER_SETTINGS, "statement_timeout", "300ms")
    with Service(Settings(database_url=postgresql.new_database())) as service, Client(service.address) as viewer:
        with holding(service, "LOCK TABLE sprockets IN ACCESS EXCLUSIVE MODE"):
            refused = viewer.get("/sprockets")
        served = viewer.get("/sprockets")

    assert 503 == refused.status_code
    assert int(refused.headers["Retry-After"]) > 0
    assert (200, []) == (served.status_code, served.json())
