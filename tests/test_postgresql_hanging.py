"""A database that keeps its connections and says nothing is given up soon; one that only takes its time is not."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import trustme

from harness import Client, Service, a_sprocket
from postgresql_proxy import Proxy, Way
from postgresql_server import PostgreSQLServer
from postgresql_tls import TlsFront
from sprocket_factory.database import Transaction
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.errors import Unavailable
from sprocket_factory.settings import Settings

SOON_SECONDS = 2

AT_ONCE = 15
"""More than the service has connections."""

CONNECTIONS = 4

UNAVAILABLE = (503, "/problems/unavailable", True)

NEW = NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=25.4)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL of the tests' own, which they may stop."""
    with PostgreSQLServer() as server:
        yield server


class Hanging:
    """A service, and how to let its database hang."""

    def __init__(self, service: Service, hang: AbstractContextManager[None]) -> None:
        self.service = service
        self.hang = hang


@contextmanager
def silent(proxy: Proxy) -> Iterator[None]:
    """Let nothing through."""
    proxy.be_silent()
    yield
    proxy.go_on()


@pytest.fixture(params=["stands still", "is out of reach"])
def hanging(request: pytest.FixtureRequest, own_server: PostgreSQLServer) -> Iterator[Hanging]:
    """Run a service on a database that can be made to hang, with a sprocket in it."""
    url = own_server.new_database()
    with Proxy(url) as proxy:
        is_still = request.param == "stands still"
        settings = Settings(database_url=url if is_still else proxy.url, database_connections=CONNECTIONS)
        with Service(settings) as service:
            with Client(service.address) as engineer:
                engineer.post("/sprockets", json=a_sprocket())
            yield Hanging(service, own_server.hanging() if is_still else silent(proxy))


def refusal(answer: httpx.Response) -> tuple[int, str, bool]:
    """Return the status of a refusal, what kind it is, and whether it says when to come back."""
    return answer.status_code, answer.json().get("type", ""), "Retry-After" in answer.headers


def wait_for_list(caller: Client) -> list[Any]:
    """Return the sprockets as soon as they can be had."""
    back = time.monotonic()
    while (answer := caller.get("/sprockets")).status_code != 200:
        assert UNAVAILABLE == refusal(answer)
        assert time.monotonic() - back < SOON_SECONDS, "the service did not recover"
    sprockets: list[Any] = answer.json()
    return sprockets


def test_fault_04_a_database_that_hangs_is_said_in_time(hanging: Hanging) -> None:
    """Whoever waits for it or comes then is told within two seconds; who comes later at once."""
    with Client(hanging.service.address) as caller, ThreadPoolExecutor(AT_ONCE) as others:
        with hanging.hang:
            begun = time.monotonic()
            waiting = [
                others.submit(caller.get, "/sprockets/1")
                if number % 2
                else others.submit(caller.post, "/sprockets", json=a_sprocket())
                for number in range(AT_ONCE)
            ]
            told = [refusal(answer.result()) for answer in waiting]
            told_after = time.monotonic() - begun
            late = refusal(caller.get("/sprockets"))
            late_after = time.monotonic() - begun - told_after
        wait_for_list(caller)
        written = caller.post("/sprockets", json=a_sprocket())

    assert [UNAVAILABLE] * (AT_ONCE + 1) == [*told, late]
    assert told_after < SOON_SECONDS
    assert late_after < SOON_SECONDS / 4
    assert 201 == written.status_code


@pytest.mark.parametrize("way", ["straight", "by what answers at once"])
def test_what_only_takes_long_is_not_given_up(own_server: PostgreSQLServer, tmp_path: Path, way: str) -> None:
    """As long as its server answers anybody, a statement may take its time, and is run once."""
    runs = 0

    async def sleep(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.one("SELECT pg_sleep(1.8)")
        await add_sprocket(tx, NEW)

    url, authority = own_server.new_database(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with TlsFront(url, authority, "localhost") as front:
        if way != "straight":
            url = f"{front.url('localhost')}?sslmode=verify-full&sslrootcert={tmp_path / 'authority.pem'}"
        with Service(Settings(database_url=url)) as service, Client(service.address) as viewer:
            service.run(service.database.write, sleep, by="test")
            stored = viewer.get("/sprockets").json()

    assert (1, [1]) == (runs, [sprocket["id"] for sprocket in stored])


class Interrupted:
    """A long write in the midst of which the database hangs."""

    def __init__(self) -> None:
        self.runs = 0
        self.begun = Event()
        self.go_on = Event()

    async def write(self, tx: Transaction) -> None:
        """Write, and write again after the break."""
        self.runs += 1
        await add_sprocket(tx, NEW)
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait)
        await add_sprocket(tx, NEW)


def begin(service: Service) -> "tuple[Interrupted, Future[Any]]":
    """Begin a long write."""
    long = Interrupted()
    writing = asyncio.run_coroutine_threadsafe(service.database.write(long.write, by="test", alone=True), service.loop)
    long.begun.wait()
    return long, writing


def test_a_long_write_outlives_a_short_silence(hanging: Hanging) -> None:
    """Others are refused meanwhile, and it goes on where it was: a merge that has taken a minute is not thrown away."""
    long, writing = begin(hanging.service)
    with Client(hanging.service.address) as viewer:
        with hanging.hang:
            long.go_on.set()
            meanwhile = refusal(viewer.get("/sprockets/1"))
        writing.result(10)
        stored = wait_for_list(viewer)

    assert UNAVAILABLE == meanwhile
    assert (1, 3) == (long.runs, len(stored))


def test_a_long_write_is_given_up_in_the_end(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence that does not end is said to whoever waits for a long write as well, and nothing of it is stored."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_watch.DEAD_SECONDS", 0)
    long, writing = begin(hanging.service)
    with hanging.hang:
        long.go_on.set()
        with pytest.raises(Unavailable):
            writing.result(10)
    with Client(hanging.service.address) as viewer:
        stored = wait_for_list(viewer)

    assert (1, 1) == (long.runs, len(stored))


def test_fault_05_a_commit_that_hangs_is_asked_after(own_server: PostgreSQLServer) -> None:
    """Its answer is lost in the silence; when the database can be reached again it says what became of it."""
    with (
        Proxy(own_server.new_database()) as proxy,
        Service(Settings(database_url=proxy.url)) as service,
        Client(service.address) as engineer,
    ):

        def is_done_in_silence(way: Way, data: bytes) -> None:
            proxy.be_silent()
            way.server.sendall(data)

        proxy.next_commit(is_done_in_silence)
        with ThreadPoolExecutor() as callers:
            waiting = callers.submit(engineer.post, "/sprockets", json=a_sprocket())
            assert proxy.met.wait(10)
            assert UNAVAILABLE == refusal(engineer.get("/sprockets"))
            proxy.go_on()
            answer = waiting.result()
        stored = wait_for_list(engineer)

    assert 201 == answer.status_code
    assert [answer.json()] == stored
