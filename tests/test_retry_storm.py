"""Many requests, each sent up to five times by callers who often lose the answer: each is done once.

The service is a process of its own, so that it has one of the cores, and the callers the other. How many requests there
are STORM_REQUESTS in the environment says.
"""

import asyncio
import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from random import Random
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import uvloop

from harness import BASE_PATH, Client, Program

REQUESTS = int(os.environ.get("STORM_REQUESTS", "600"))
MAX_TIMES = 5
LOST = 0.3
CALLERS = 32
FACTORIES = (1, 2, 3)
APART = 200
"""How many requests lie between the first and the last time that one is sent: some run at once, some much later."""

SEED = 20_210_121

MAX_ROUNDS = 20
"""So often is asked again for what is not known to be done; the second round is usually the last that has to."""

DONE = {200, 201}
NOT_NOW = {409, 503}
"""The first one with this key is still running; too much at once."""

Json = dict[str, Any]


class Request(NamedTuple):
    """Something that has to be done once."""

    content: bytes
    sprockets: list[Json]
    records: list[Json]


class Attempt(NamedTuple):
    """One time that a request is sent, and what becomes of the answer."""

    number: int
    end: Literal["read", "gone at once", "gone when it came"]


class Outcome(NamedTuple):
    """What callers were told: the statuses of all answers, and what stands for done, request by request.

    `lost` names a request as often as it was sent and its answer lost.
    """

    statuses: Counter[int]
    done: dict[int, set[tuple[int, bytes]]]
    lost: list[int]


def a_request(number: int, random: Random) -> Request:
    """Make up a request: a new sprocket, a record, or a few records, none of which any other request has."""
    kind = random.choice([*["sprocket", "record"] * 5, "records"])
    if kind == "sprocket":
        length = 1 + number / REQUESTS
        sprocket = {"teeth": 20, "pitch_diameter": length, "outside_diameter": length, "pitch": length}
        return Request(posted(number, "/sprockets", sprocket), [sprocket], [])
    first = datetime(2021, 1, 1, tzinfo=UTC) + timedelta(minutes=10 * number)
    records = [
        {
            "sprocket_production_actual": random.randrange(1000),
            "sprocket_production_goal": random.randrange(1000),
            "time": f"{first + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}",
            "factory_id": random.choice(FACTORIES),
        }
        for minute in range(1 if kind == "record" else random.randint(2, 5))
    ]
    return Request(posted(number, "/production", records[0] if kind == "record" else records), [], records)


def posted(number: int, path: str, body: Json | list[Json]) -> bytes:
    """Return a POST under a key of its own, as it goes over the wire."""
    content = json.dumps(body).encode()
    head = (
        f"POST {BASE_PATH}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nIdempotency-Key: {number}\r\n\r\n"
    )
    return head.encode() + content


def attempts(random: Random) -> list[Attempt]:
    """Settle how often each request is sent, in which order, and which answers are lost."""
    sent = [
        (number + APART * random.random() * time, number)
        for number in range(REQUESTS)
        for time in range(random.randint(1, MAX_TIMES))
    ]
    ends: list[Literal["gone at once", "gone when it came"]] = ["gone at once", "gone when it came"]
    return [Attempt(number, random.choice(ends) if random.random() < LOST else "read") for _, number in sorted(sent)]


class Caller:
    """Somebody with one connection at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, content: bytes, end: str) -> tuple[int, bytes] | None:
        """Send a request and return the answer's status and body, unless it is lost."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(content)
        if end == "read":
            return await self._answer(reader)
        if end == "gone when it came":
            await reader.read(1)
        await self.leave()
        return None

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            await self.leave()
        return int(head.split()[1]), body

    async def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            await writer.wait_closed()


async def storm(address: str, requests: list[Request], to_send: deque[Attempt]) -> Outcome:
    """Send everything, many at once; and what nobody knows to be done again, until it is known."""
    url = urlsplit(address)
    outcome = Outcome(Counter(), defaultdict(set), [])

    async def call() -> None:
        caller = Caller(url.hostname or "", url.port or 0)
        while to_send:
            number, end = to_send.popleft()
            answer = await caller.send(requests[number].content, end)
            if answer is None:
                outcome.lost.append(number)
                continue
            outcome.statuses[answer[0]] += 1
            if answer[0] in DONE:
                outcome.done[number].add(answer)
        await caller.leave()

    for _ in range(MAX_ROUNDS):
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        to_send.extend(Attempt(number, "read") for number in range(len(requests)) if number not in outcome.done)
    return outcome


def test_whatever_is_sent_again_and_again_is_done_once(
    start: Callable[..., Program],
    database_url: str,
    engine: str,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """A caller who lost an answer sends it again under the same key: it is done once, and answered as at first."""
    random = Random(SEED)  # noqa: S311 - the same storm each time
    requests = [a_request(number, random) for number in range(REQUESTS)]
    to_send = deque(attempts(random))
    program = start("serve", "--port", "0", "--log-level", "error", "--database-url", database_url)
    with Client(program.wait_for_address()) as viewer:
        for number in FACTORIES:
            viewer.post("/factories", json={"name": f"Factory {number}"})
        outcome = uvloop.run(storm(viewer.address, requests, to_send))
        sprockets = viewer.get("/sprockets").json()
        records = viewer.get("/production").json()
    record_testsuite_property(f"requests on {engine}", len(outcome.done))
    record_testsuite_property(f"times that they were sent and answered on {engine}", outcome.statuses.total())
    record_testsuite_property(f"answers lost on {engine}", len(outcome.lost))

    assert set() == set(outcome.statuses) - DONE - NOT_NOW
    assert REQUESTS == len(outcome.done)
    assert {1} == {len(answers) for answers in outcome.done.values()}
    assert in_order(chain.from_iterable(request.sprockets for request in requests)) == in_order(
        {name: value for name, value in sprocket.items() if name != "id"} for sprocket in sprockets
    )
    assert in_order(chain.from_iterable(request.records for request in requests)) == in_order(records)


def in_order(things: Iterable[Json]) -> list[tuple[tuple[str, Any], ...]]:
    """Return things in an order of their own, to compare them whatever order they came in."""
    return sorted(tuple(sorted(thing.items())) for thing in things)
