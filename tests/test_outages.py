"""PostgreSQL away, restarting, locked or crowded: what callers are told, and that nothing acknowledged is lost."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from harness import BASE_PATH, Client, Program, Service, a_sprocket, run_program, wait_in
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.settings import Settings

OUTAGES = 20
CALLERS = 4

FORGIVEN = {"/problems/unavailable", "/problems/busy", "/problems/outcome-unknown"}


@pytest.fixture
def own_server() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL of the test's own, which it may kill."""
    with PostgreSQLServer() as server:
        yield server


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
    """Reading and writing are 503 `unavailable` with Retry-After, as long as it lasts and no longer."""
    server = start("serve", "--port", "0", "--database-url", own_server.new_database())
    with Client(server.wait_for_address()) as caller:
        own_server.stop()
        away = [caller.get("/sprockets"), caller.get("/sprockets/1"), caller.post("/sprockets", json=a_sprocket())]
        own_server.start()
        back = [caller.get("/sprockets"), caller.post("/sprockets", json=a_sprocket())]

    assert [(503, "/problems/unavailable")] * 3 == [(one.status_code, one.json()["type"]) for one in away]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in away)
    assert [200, 201] == [answer.status_code for answer in back]


def test_fault_04_no_server_starts_without_its_database(own_server: PostgreSQLServer, tmp_path: Path) -> None:
    """It waits a little for a database that is starting, then says which one does not answer."""
    url = own_server.new_database()
    own_server.stop()
    done = run_program("serve", "--port", "0", "--database-url", url, folder=tmp_path)
    own_server.start()

    assert 1 == done.returncode
    assert f"{url} cannot be opened" in done.stderr


def test_fault_06_a_row_that_others_hold_is_busy_and_reading_goes_on(
    postgresql: PostgreSQLServer, start: Callable[..., Program]
) -> None:
    """A write that waits too long for a lock is 503 with Retry-After; everybody else is served meanwhile."""
    url = postgresql.new_database()
    server = start("serve", "--port", "0", "--database-url", url)
    with Client(server.wait_for_address()) as engineer:
        engineer.post("/sprockets", json=a_sprocket())
        holder = threading.Thread(
            target=postgresql.ask,
            args=["BEGIN; UPDATE sprockets SET teeth = 30 WHERE id = 1; SELECT pg_sleep(7); ROLLBACK", url],
        )
        holder.start()
        time.sleep(0.5)
        answers: list[httpx.Response] = []
        writer = threading.Thread(
            target=lambda: answers.append(engineer.put("/sprockets/1", json=a_sprocket(teeth=40)))
        )
        writer.start()
        with Client(engineer.address) as viewer:
            meanwhile = [viewer.get("/sprockets/1").json()["teeth"] for _ in range(100)]
        writer.join()
        holder.join()

        assert [20] * 100 == meanwhile
        assert (503, "/problems/busy") == (answers[0].status_code, answers[0].json()["type"])
        assert "Retry-After" in answers[0].headers
        assert 20 == engineer.get("/sprockets/1").json()["teeth"]


def test_fault_06_where_every_connection_is_in_use_the_next_is_told_in_time(postgresql: PostgreSQLServer) -> None:
    """An exhausted pool is 503 `busy`, and whoever comes after it is free is served."""
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
    assert 200 == served.status_code
