"""What the tests of events share: somebody who reads them as a browser does."""

import json
from http.client import HTTPConnection
from random import Random
from time import monotonic
from typing import Any, NamedTuple, Self

import httpx

from harness import BASE_PATH
from sprocket_factory.observe_metrics import event_clients

PATIENCE_SECONDS = 20


class Told(NamedTuple):
    """An event as it is dispatched."""

    kind: str
    id: str
    data: dict[str, Any]


class Source:
    """An EventSource on a connection of its own, by the rules of its standard."""

    def __init__(
        self, address: str, last_id: str = "", *, target: str = "/events", key: str = "", cookie: str = ""
    ) -> None:
        self.last_id = last_id
        self.comments = 0
        self.has_ended = False
        self._line = b""
        self._kind = self._id = self._data = ""
        self._waiting: list[Told] = []
        url = httpx.URL(address)
        self._connection = HTTPConnection(url.host, url.port, timeout=PATIENCE_SECONDS)
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": last_id} if last_id else {}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        headers |= {"Cookie": cookie} if cookie else {}
        self._connection.request("GET", BASE_PATH + target, headers=headers)
        self._socket = self._connection.sock
        self.answer = self._connection.getresponse()
        if self.answer.status == httpx.codes.OK and not last_id:
            self.read_until(lambda: bool(self.last_id))  # from now on nothing escapes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.answer.close()
        self._connection.close()

    def next(self) -> Told:
        """Return the next event, once there is one."""
        self.read_until(lambda: bool(self._waiting))
        return self._waiting.pop(0)

    def take(self, count: int) -> list[Told]:
        """Return as many events, once they are there."""
        return [self.next() for _ in range(count)]

    def dispatched(self) -> list[Told]:
        """Return the events that have come and were not returned yet."""
        events, self._waiting = self._waiting, []
        return events

    def read_until(self, is_enough: Any) -> None:
        """Read until it is enough. The other side is to go on meanwhile."""
        deadline = monotonic() + PATIENCE_SECONDS
        while not is_enough():
            assert self.read(65_536), f"The events have ended, or do not go on behind {self.last_id}."
            assert monotonic() < deadline

    def read_to_its_end(self) -> list[Told]:
        """Read until the other side ends it, and return the events that came."""
        while self.read(65_536):
            pass
        return self.dispatched()

    def read(self, most: int, seconds: float = PATIENCE_SECONDS) -> int:
        """Read what comes within so many seconds, up to so many bytes, and return how many; 0 for nothing."""
        self._socket.settimeout(seconds)
        try:
            data = self.answer.read1(most)
        except (ConnectionError, TimeoutError):
            data = b""
        self.has_ended = not data
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            self._take_line(line.decode())
        self._line = rest
        return len(data)

    def _take_line(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        field, _, value = line.partition(":")
        match field:
            case "":
                self.comments += 1
            case "event":
                self._kind = value.strip()
            case "id":
                self._id = value.strip()
            case "data":
                self._data = value.strip()
            case _:
                assert (field, value) == ("retry", " 1000")

    def _dispatch(self) -> None:
        self.last_id = self._id
        if self._data:
            self._waiting.append(Told(self._kind, self._id, json.loads(self._data)))
        self._kind = self._data = ""


def read_and_leave(source: Source, random: Random) -> list[Told]:
    """Read for a moment and leave, wherever that is: within an event, between two of one change, or while waiting."""
    ends_at = monotonic() + random.choice([0, 0.05, 0.5])
    left = random.randrange(1, 3000)
    while left > 0 and (count := source.read(min(left, 500), seconds=max(0.001, ends_at - monotonic()))):
        left -= count
    source.close()
    return source.dispatched()


def wait_for_clients(count: int) -> None:
    """Wait until so many clients follow, in this process."""
    deadline = monotonic() + PATIENCE_SECONDS
    while event_clients.count != count:
        assert monotonic() < deadline, f"{event_clients.count} clients follow."
