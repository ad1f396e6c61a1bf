"""Fault 12: the service is told to stop while it is at work."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from harness import BASE_PATH, TLS, Client, Program, a_sprocket
from long_lists import stopped_reader, upload

CALLERS = 8

AT_MOST_SECONDS = 10

ROWS = 200


@pytest.fixture
def serve(start: Callable[..., Program], database_url: str) -> Callable[..., Program]:
    """Return what starts the service, each time on the same database."""
    return lambda *arguments: start("serve", "--port", "0", "--database-url", database_url, *arguments)


class Poster(threading.Thread):
    """Posts sprockets one after the other on one connection, connecting anew where it was closed, until it may not."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.unanswered: list[str] = []
        self._address = address

    def run(self) -> None:
        """Post until nobody listens any more."""
        with httpx.Client(base_url=self._address + BASE_PATH, timeout=20, trust_env=False, verify=TLS) as client:
            while True:
                try:
                    answer = client.post("/sprockets", json=a_sprocket())
                except httpx.ConnectError:
                    return
                except (httpx.ReadError, httpx.RemoteProtocolError) as error:
                    # Connected, but nobody had taken the connection yet, or anything from it, when the port was closed.
                    self.unanswered.append(repr(error))
                else:
                    assert 201 == answer.status_code, answer.text
                    self.acknowledged.append(answer.json()["id"])


class SlowUpload(threading.Thread):
    """Sends records over some time, and is at it when the service is told to stop."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.answer: httpx.Response
        self._address = address

    def run(self) -> None:
        """Send."""
        csv = {"Content-Type": "text/csv"}
        with Client(self._address) as client:
            self.answer = client.post("/production", content=self._pieces(), headers=csv)

    def _pieces(self) -> Iterator[bytes]:
        yield b"factory_id,time,sprocket_production_actual,sprocket_production_goal\n"
        for number in range(ROWS):
            yield b"1,2021-01-21T02:%02d:%02dZ,31,32\n" % divmod(number, 60)
            if number == ROWS // 2:
                self.begun.set()
                self.go_on.wait()


def ready(address: str) -> int:
    """Return the status of /health/ready."""
    return httpx.get(f"{address}/health/ready", trust_env=False, verify=TLS).status_code


def test_fault_12_sigterm_under_load_loses_nothing(serve: Callable[..., Program]) -> None:
    """Ready says 503 while requests are still served; then those under way end whole, and the exit code is 0.

    What was acknowledged is there when the service starts again, and nothing else: a connection that came too late is
    reset or closed without an answer, and what was sent on it was not done.
    """
    server = serve("--drain-seconds", "1")
    address = server.wait_for_address()
    with Client(address) as operator:
        operator.post("/factories", json={"name": "Sheffield"}).raise_for_status()
    posters = [Poster(address) for _ in range(CALLERS)]
    slow = SlowUpload(address)
    for thread in [slow, *posters]:
        thread.start()
    slow.begun.wait()
    while any(len(poster.acknowledged) < 5 for poster in posters):
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    while (status := ready(address)) == 200:
        assert time.monotonic() - told < 1
    so_far = sum(len(poster.acknowledged) for poster in posters)
    with Client(address) as latecomer:
        late = latecomer.get("/sprockets/1")
    for poster in posters:
        poster.join()
    slow.go_on.set()
    slow.join()
    exit_code = server.wait()
    took = time.monotonic() - told

    acknowledged = [sprocket for poster in posters for sprocket in poster.acknowledged]
    with Client(serve().wait_for_address()) as viewer:
        stored = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]
        records = viewer.get("/production").json()

    assert (503, 200) == (status, late.status_code)
    assert "close" == late.headers["Connection"]
    assert len(acknowledged) > so_far
    assert all(len(poster.unanswered) <= 1 for poster in posters)
    assert (200, ROWS, ROWS) == (slow.answer.status_code, slow.answer.json()["created"], len(records))
    assert sorted(acknowledged) == sorted(stored)
    assert 0 == exit_code, server.output
    assert took < AT_MOST_SECONDS
    assert '"level":"error"' not in server.output


def test_fault_12_a_reader_who_stopped_does_not_keep_it_from_ending(serve: Callable[..., Program]) -> None:
    """Lists that nobody takes, and connections on which nothing comes, are closed in time."""
    server = serve()
    address = server.wait_for_address()
    with Client(address) as operator:
        operator.post("/factories", json={"name": "Sheffield"}).raise_for_status()
        upload(operator, 60_000, factory_ids=[1])
    url = httpx.URL(address)
    readers: list[socket.socket] = [
        stopped_reader(address, "/production"),
        socket.create_connection((url.host, url.port or 80)),
    ]
    began = time.monotonic()
    exit_code = server.stop()
    took = time.monotonic() - began
    for reader in readers:
        reader.close()

    assert 0 == exit_code, server.output
    assert took < AT_MOST_SECONDS


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_fault_12_a_second_signal_does_not_wait(serve: Callable[..., Program]) -> None:
    """Who presses Ctrl-C twice means it: nobody new is waited for, and it still ends in order."""
    server = serve("--drain-seconds", "300")
    address = server.wait_for_address()
    server.process.send_signal(signal.SIGINT)
    while ready(address) == 200:
        time.sleep(0.01)
    began = time.monotonic()
    exit_code = server.stop(signal.SIGINT)

    assert 0 == exit_code, server.output
    assert time.monotonic() - began < AT_MOST_SECONDS


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_fault_12_nothing_is_left_behind(serve: Callable[..., Program], database_url: str) -> None:
    """The database is closed in order: its log is written back, and the file alone has everything."""
    server = serve()
    with Client(server.wait_for_address()) as engineer:
        engineer.post("/sprockets", json=a_sprocket()).raise_for_status()
    server.stop()
    path = Path(database_url.removeprefix("sqlite:///"))

    assert {path.name, f"{path.name}-lock"} == {file.name for file in path.parent.glob(f"{path.name}*")}
