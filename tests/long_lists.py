"""What the tests of long lists share: many records, and readers who stop reading."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import httpx

from harness import BASE_PATH, Client, Service
from sprocket_factory.settings import Settings

START = datetime(2021, 1, 21, 2, 6, 58, tzinfo=UTC)

MANY = 60_000
"""No buffer between the service and a reader holds a list of so many."""

VERY_MANY = 200_000
"""Of so many a copy in memory, or in a log, shows among all the other bytes."""

MAX_READERS = 50
"""More at once than any server allows."""

MAX_ROUNDS = 200
"""So many times 100 writes: far longer than a reader is waited for."""


@contextmanager
def service_with_many_records(settings: Settings, count: int = MANY) -> Iterator[Service]:
    """Run a service with three factories, of which two have so many records together and the third has none."""
    with Service(settings) as running:
        with Client(running.address) as operator:
            for number in range(1, 4):
                operator.post("/factories", json={"name": f"Factory {number}"}).raise_for_status()
            upload(operator, count // 2, factory_ids=[1, 2])
        yield running


def upload(engineer: Client, count: int, factory_ids: list[int], more: int = 0) -> None:
    """Store as many records for each of these factories, half of them with microseconds; of each so many more made."""
    lines = ["factory_id,time,sprocket_production_actual,sprocket_production_goal"]
    for number in range(count):
        time = (START + timedelta(seconds=number, microseconds=number % 2)).isoformat()
        lines += [f"{factory_id},{time},{number + more},{number * factory_id}" for factory_id in factory_ids]
    csv_ = {"Content-Type": "text/csv"}
    engineer.post("/production?on_conflict=replace", content="\n".join(lines).encode(), headers=csv_).raise_for_status()


def stopped_reader(address: str, target: str) -> socket.socket:
    """Return a connection that asked for a list, read the beginning of the answer, and reads no more."""
    url = httpx.URL(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((url.host, url.port))
    connection.sendall(f"GET {BASE_PATH}{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@contextmanager
def as_many_stopped_readers_as_allowed(operator: Client) -> Iterator[list[socket.socket]]:
    """Give readers who stopped, one for each whole list that may be read at once."""
    readers: list[socket.socket] = []
    with ExitStack() as connections:
        while may_be_read(operator):
            readers.append(connections.enter_context(stopped_reader(operator.address, "/production")))
            assert len(readers) < MAX_READERS
        yield readers


def may_be_read(operator: Client) -> bool:
    """Return whether one more whole list may be read."""
    return operator.head("/production").status_code == 200


def rest_of(connection: socket.socket, most: int = 64) -> bytes:
    """Return the last bytes that still come on a connection until it ends, so many at most."""
    end = b""
    try:
        while data := connection.recv(1024 * 1024):
            end = (end + data)[-most:]
    except ConnectionResetError:
        pass
    return end


def keep_writing(operator: Client, count: int) -> list[int]:
    """Replace as many records one after the other, and return how each was answered."""
    counts = {"sprocket_production_actual": 1, "sprocket_production_goal": count}
    paths = [f"/production/1/{1_611_194_818 + 2 * number}" for number in range(count)]
    return [operator.put(path, json=counts).status_code for path in paths]


def write_until_readable(operator: Client) -> list[int]:
    """Write until one more whole list may be read, and return how each write was answered."""
    answers: list[int] = []
    for _ in range(MAX_ROUNDS):
        answers += keep_writing(operator, 100)
        if may_be_read(operator):
            break
    return answers
