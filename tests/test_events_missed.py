"""Whoever follows the events and is cut off again and again misses none and sees none twice, on both engines."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic
from typing import Any

import httpx
import pytest

from attainments import told
from event_sources import PATIENCE_SECONDS, Source, Told, read_and_leave, wait_for_clients
from harness import Client, NewDatabase, Service
from sprocket_factory.settings import Settings

WRITES = int(os.environ.get("EVENT_WRITES", "600"))
"""How many random writes are told. Ten thousand take a minute."""

WRITERS = 4

FOLLOWERS = 2

FACTORIES = (1, 2, 3)
LAST_FACTORY = 4
"""Nobody writes of it but in the end."""

BEGIN = datetime(2010, 1, 1, tzinfo=UTC)

LAST_COUNTS = {"sprocket_production_actual": 1, "sprocket_production_goal": 1}

Slot = tuple[int, int]
"""A factory, and the number of a minute."""


@pytest.fixture
def services(engine: str, new_database: NewDatabase) -> Iterator[list[Service]]:
    """Run the servers of one database: as many as may be."""
    settings = Settings(database_url=new_database())
    with ExitStack() as stack:
        yield [stack.enter_context(Service(settings)) for _ in range(1 if engine == "sqlite" else 2)]


class Writer:
    """Somebody who writes in every way there is to minutes of his own, and knows what has to be told of it."""

    def __init__(self, client: Client, number: int) -> None:
        self.expected: list[dict[str, Any]] = []
        self._client = client
        self._random = Random(number)  # noqa: S311 - the same writes in each run
        self._begin = BEGIN + timedelta(days=1000 * number)
        self._stored: dict[Slot, None] = {}
        self._minutes = 0
        self._counts = 0

    def write(self, times: int) -> list[dict[str, Any]]:
        """Write so many times, and return what has to be told."""
        ways: list[Callable[[], None]] = [
            self._post_one,
            self._put_new,
            self._put_again,
            self._patch,
            self._delete,
            self._post_many,
            self._delete_span,
        ]
        for _ in range(times):
            new = self._random.random() < 1 / 2 or len(self._stored) < 2 * len(FACTORIES)
            self._random.choice(ways[:2] if new else ways[2:])()
        return self.expected

    def _post_one(self) -> None:
        slot = self._new_slot()
        self._done(self._client.post("/production", json=self._record(slot)), [slot])

    def _put_new(self) -> None:
        slot = self._new_slot()
        self._done(self._client.put(self._path(slot), json=self._new_counts()), [slot])

    def _put_again(self) -> None:
        slot = self._any_slot()
        self._done(self._client.put(self._path(slot), json=self._new_counts()), [slot])

    def _patch(self) -> None:
        slot = self._any_slot()
        counts = {"sprocket_production_actual": self._new_counts()["sprocket_production_actual"]}
        self._done(self._client.patch(self._path(slot), json=counts), [slot])

    def _delete(self) -> None:
        slot = self._any_slot()
        self._done(self._client.delete(self._path(slot)), [slot])
        del self._stored[slot]

    def _post_many(self) -> None:
        new = [(factory_id, self._new_slot()[1]) for factory_id in FACTORIES for _ in range(2)]
        slots = list(dict.fromkeys([*new, *(self._any_slot() for _ in range(4))]))
        rows = [self._record(slot) for slot in slots]
        self._done(self._client.post("/production?on_conflict=replace", json=rows), slots)

    def _delete_span(self) -> None:
        factory_id, first = self._any_slot()
        slots = [slot for slot in self._stored if slot[0] == factory_id and first <= slot[1] < first + 20]
        span: dict[str, str | int] = {
            "factory_id": factory_id,
            "time__gte": self._time(first),
            "time__lt": self._time(first + 20),
        }
        self._done(self._client.delete("/production", params=span), slots)
        for slot in slots:
            del self._stored[slot]

    def _done(self, answer: httpx.Response, slots: list[Slot]) -> None:
        """Take note of what a write that was answered has to be told as."""
        answer.raise_for_status()
        self._stored |= dict.fromkeys(slots)
        for factory_id in sorted({slot[0] for slot in slots}):
            minutes = [minute for number, minute in slots if number == factory_id]
            first, last = self._time(min(minutes)), self._time(max(minutes))
            self.expected.append({"factory_id": factory_id, "from": first, "to": last, "records": len(minutes)})

    def _new_slot(self) -> Slot:
        self._minutes += 1
        return self._random.choice(FACTORIES), self._minutes

    def _any_slot(self) -> Slot:
        return self._random.choice(list(self._stored))

    def _new_counts(self) -> dict[str, int]:
        self._counts += 1
        return {"sprocket_production_actual": self._counts, "sprocket_production_goal": 1}

    def _record(self, slot: Slot) -> dict[str, Any]:
        return {"factory_id": slot[0], "time": self._time(slot[1])} | self._new_counts()

    def _path(self, slot: Slot) -> str:
        return f"/production/{slot[0]}/{self._time(slot[1])}"

    def _time(self, minute: int) -> str:
        return told(self._begin + timedelta(minutes=minute))


class Follower:
    """Somebody who follows, now at one server and then at another, and is cut off all the time."""

    def __init__(self, addresses: list[str], number: int) -> None:
        self.connections = 1
        self._addresses = addresses
        self._random = Random(number)  # noqa: S311 - see above
        with Source(addresses[0]) as source:
            self._last_id = source.last_id

    def follow(self) -> list[Told]:
        """Follow until the last factory is told of, and return all that was told before."""
        events: list[Told] = []
        deadline = monotonic() + PATIENCE_SECONDS
        while not any(event.data["factory_id"] == LAST_FACTORY for event in events[-100:]):
            assert monotonic() < deadline, f"Nothing is told behind {self._last_id}, and the last was not."
            source = Source(self._random.choice(self._addresses), self._last_id)
            if new := read_and_leave(source, self._random):
                deadline = monotonic() + PATIENCE_SECONDS
            events += new
            self._last_id = source.last_id
            self.connections += 1
        return events


def place_of(event: Told) -> tuple[int, float]:
    """Return where an event stands in the record; the last one of a change has the id of the change."""
    position, _, place = event.id.partition(".")
    return int(position), int(place) if place else float("inf")


def order(event: dict[str, Any]) -> list[str]:
    """Return what events are sorted by."""
    return [str(member) for member in event.values()]


def test_who_is_cut_off_again_and_again_misses_none_and_sees_none_twice(
    services: list[Service], engine: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """While four write one record and many, and change and remove them, at as many servers as there are."""
    addresses = [service.address for service in services]
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(addresses[number % len(addresses)])) for number in range(WRITERS)]
        for number in (*FACTORIES, LAST_FACTORY):
            clients[0].post("/factories", json={"name": f"Factory {number}"}).raise_for_status()
        followers = [Follower(addresses, number) for number in range(FOLLOWERS)]
        writers = [Writer(client, number) for number, client in enumerate(clients)]
        with ThreadPoolExecutor(WRITERS + FOLLOWERS) as threads:
            following = [threads.submit(follower.follow) for follower in followers]
            writing = [threads.submit(writer.write, WRITES // WRITERS) for writer in writers]
            expected = [event for future in writing for event in future.result()]
            clients[0].put(f"/production/{LAST_FACTORY}/{told(BEGIN)}", json=LAST_COUNTS).raise_for_status()
            seen = [future.result() for future in following]
    wait_for_clients(0)
    connections = [follower.connections for follower in followers]
    record_testsuite_property(f"writes on {engine}", WRITES)
    record_testsuite_property(f"events that each saw on {engine}", len(expected))
    record_testsuite_property(f"times that they were cut off on {engine}", sum(connections))

    for events in seen:
        *told_before, end = events
        assert sorted(expected, key=order) == sorted((event.data for event in told_before), key=order)
        assert LAST_FACTORY == end.data["factory_id"]
        assert {"production"} == {event.kind for event in events}
        places = [place_of(event) for event in events]
        assert sorted(set(places)) == places
    assert min(connections) > WRITES / 50
