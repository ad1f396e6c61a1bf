"""The server is killed while callers write, one thing and many at once: what was acknowledged is there, once.

How often it is killed KILLS in the environment says.
"""

import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx

from bulk import a_row, add_factory, stored
from harness import Client, Program, a_sprocket
from sprocket_factory.database.checking import look_into_sqlite

KILLS = int(os.environ.get("KILLS", "3"))

SEED = 20_210_121

CALLERS = 6

FACTORIES = (1, 2)
"""For each there is somebody who sends many records at once."""

ROWS = 50

MOST_WRITES = 300
"""After at most so many writes were acknowledged a server is killed."""


class Caller(ABC):
    """Sends one thing after the other; what was not answered is sent again first, to the next server."""

    def __init__(self, number: int) -> None:
        self.acknowledged = 0
        self._number = number

    def write_until_killed(self, address: str) -> None:
        """Write without a pause until the server is gone. Raises where it only says nothing."""
        with Client(address) as client, suppress(httpx.NetworkError, httpx.RemoteProtocolError):
            while True:
                self.write(client)

    def write(self, client: Client) -> None:
        """Write one thing."""
        self.send(client, self.acknowledged)
        self.acknowledged += 1

    @abstractmethod
    def send(self, client: Client, number: int) -> None:
        """Send the thing of this number."""


class One(Caller):
    """Sends sprockets, each with a key of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.ids: list[int] = []

    def send(self, client: Client, number: int) -> None:
        """Send a sprocket."""
        answer = client.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": f"{self._number}-{number}"})
        self.ids.append(answer.raise_for_status().json()["id"])


class Many(Caller):
    """Sends records of one factory, many at once; each batch has a count of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.found: Counter[str] = Counter()
        """What those that were sent again were found to be: stored without an answer, or absent."""
        self._sent = -1

    def send(self, client: Client, number: int) -> None:
        """Send a batch."""
        is_sent_again, self._sent = number == self._sent, number
        rows = [a_row(self._number, number * ROWS + row, actual=number) for row in range(ROWS)]
        merged = client.post("/production", json=rows).raise_for_status().json()
        ways = {ROWS: "absent", 0: "stored"} if is_sent_again else {ROWS: "new"}
        assert merged["created"] in ways, f"some of a batch was stored before: {merged}"
        self.found[ways[merged["created"]]] += 1


def test_fault_01_what_was_acknowledged_survives_kill_9(
    start: Callable[..., Program], tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Nothing acknowledged is lost, nothing is there twice, no batch by half; what was not answered is sent again."""
    random = Random(SEED)  # noqa: S311 - the same moments each time
    serve = ("serve", "--port", "0", "--log-level", "error", "--database-url", f"sqlite:///{tmp_path / 'a.db'}")
    ones = [One(number) for number in range(CALLERS)]
    manies = [Many(factory_id) for factory_id in FACTORIES]
    callers: list[Caller] = [*ones, *manies]
    server = start(*serve)
    with Client(server.wait_for_address()) as engineer:
        assert list(FACTORIES) == [add_factory(engineer) for _ in FACTORIES]
    for _ in range(KILLS):
        goal = sum(caller.acknowledged for caller in callers) + random.randint(1, MOST_WRITES)
        with ThreadPoolExecutor(len(callers)) as together:
            writing = [together.submit(caller.write_until_killed, server.wait_for_address()) for caller in callers]
            try:
                while sum(caller.acknowledged for caller in callers) < goal and not any(one.done() for one in writing):
                    time.sleep(0.001)
                ended = [one for one in writing if one.done()]
                is_alive = server.process.poll() is None
            finally:
                server.kill()  # without it they would never end
        for one in writing:
            one.result()
        assert ([], True) == (ended, is_alive), f"it ended, or cut somebody off, by itself: {server.output}"
        assert sum(caller.acknowledged for caller in callers) >= goal
        server = start(*serve, "--must-exist")
    with Client(server.wait_for_address()) as viewer:
        for caller in callers:
            caller.write(viewer)
        sprockets = [sprocket["id"] for sprocket in viewer.get("/sprockets").json()]
        batches = [Counter(actual for _, actual, _ in stored(viewer, factory_id)) for factory_id in FACTORIES]
    record_testsuite_property("kills", KILLS)
    record_testsuite_property("acknowledged writes", sum(caller.acknowledged for caller in callers))
    for way in ("stored", "absent"):
        found = sum(many.found[way] for many in manies)
        record_testsuite_property(f"batches sent again and found {way}", found)

    assert sorted(id_ for one in ones for id_ in one.ids) == sorted(sprockets)
    assert [dict.fromkeys(range(many.acknowledged), ROWS) for many in manies] == batches
    assert () == look_into_sqlite(tmp_path / "a.db").faults
