"""Whoever reads sees what was acknowledged before, whoever wrote it and whichever server is asked.

What all callers did is noted, with the times at which each call began and ended, and looked through afterwards. Each
thing is written by one caller alone, a higher number each time, so no order that explains all has to be searched for:
the numbers are the order. A read has to give at least the highest number that any call, write or read, had ended with
before it began, and at most the highest that was being written before it ended. So each thing is a linearizable
register, and nobody reads what he wrote or has read in an older state. HISTORY_CALLS in the environment says how many
calls there are.
"""

import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate, chain
from random import Random
from typing import Any, NamedTuple

import pytest

from attainments import add_factory_in
from harness import Client, Program, a_sprocket
from sprocket_factory.database.addresses import is_postgresql

CALLS = int(os.environ.get("HISTORY_CALLS", "800"))

SEED = 20_210_121

WRITERS = 4
"""Each writes a sprocket and a record."""

READERS = 4

ODDS_OF_WRITING = 0.7

TIME = "2021-01-21T02:{:02}:00Z"


class Call(NamedTuple):
    """A write or a read of one thing, with the seconds at which it began and ended."""

    thing: str
    value: int
    begun: float
    ended: float
    is_write: bool


def find_wrong(calls: list[Call]) -> Iterator[str]:
    """Give a sentence for each read that is older than what was known when it began, or younger than any write."""
    for thing in sorted({call.thing for call in calls}):
        of_thing = [call for call in calls if call.thing == thing]
        ended, known = running_maximum((call.ended, call.value) for call in of_thing)
        begun, written = running_maximum((call.begun, call.value) for call in of_thing if call.is_write)
        for call in of_thing:
            least = known[bisect_left(ended, call.begun)]
            most = written[bisect_right(begun, call.ended)]
            if not call.is_write and not least <= call.value <= most:
                yield f"{call} had to give at least {least} and at most {most}."


def running_maximum(values: Iterator[tuple[float, int]]) -> tuple[list[float], list[int]]:
    """Return the moments in order, and the highest value before the first, before the second, and so on."""
    ordered = sorted(values)
    maxima = accumulate((value for _, value in ordered), max, initial=0)
    return [moment for moment, _ in ordered], list(maxima)


def call(client: Client, path: str, known: list[str], value: int | None = None) -> list[Call]:
    """Write a thing, or read one or a list of them; return what that gave of each, also of those that a list lacks."""
    begun = time.monotonic()
    if value is None:
        answer = client.get(path)
    elif path.startswith("/sprockets"):
        answer = client.put(path, json=a_sprocket(pitch=value))
    else:
        answer = client.put(path, json={"sprocket_production_actual": value, "sprocket_production_goal": 1})
    ended = time.monotonic()
    told = values_in(answer.raise_for_status().json(), path, known)
    assert value is None or told == {path: value}, f"{value} was put to {path}, and {told} is the answer"
    return [Call(*one, begun, ended, value is not None) for one in told.items()]


def values_in(told: Any, path: str, known: list[str]) -> dict[str, int]:
    """Return the number of each thing that is told; of those known to be in a list, 0 for each that it lacks."""
    if not isinstance(told, list):
        return dict([thing_and_value(told)])
    things = dict(map(thing_and_value, told))
    assert len(things) == len(told), f"{path} has something twice: {told}"
    return {thing: 0 for thing in known if thing.startswith(f"{path}/")} | things


def thing_and_value(told: dict[str, Any]) -> tuple[str, int]:
    """Return the path of what is told, and the number that was written to it."""
    if "pitch" in told:
        return f"/sprockets/{told['id']}", int(told["pitch"])
    return f"/production/{told['factory_id']}/{told['time']}", told["sprocket_production_actual"]


def test_a_read_never_goes_back_behind_what_was_acknowledged(
    start: Callable[..., Program], database_url: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Four write and four read, single things and whole lists; with PostgreSQL they ask two servers in turn."""
    serve = ("serve", "--port", "0", "--log-level", "error", "--database-url", database_url)
    servers = [start(*serve) for _ in range(2 if is_postgresql(database_url) else 1)]
    addresses = [server.wait_for_address() for server in servers]
    with Client(addresses[0]) as engineer:
        factory_id = add_factory_in(engineer, "UTC")
        ids = [engineer.post("/sprockets", json=a_sprocket()).json()["id"] for _ in range(WRITERS)]
        lists = ["/sprockets", f"/production/{factory_id}"]
        own = [[f"/sprockets/{id_}", f"/production/{factory_id}/{TIME.format(id_)}"] for id_ in ids]
        known = [*chain(*own)]
        calls = [noted for thing in known for noted in call(engineer, thing, known, 1)]

    def act(number: int) -> list[Call]:
        """Write what is one's own and read whatever there is, or only read."""
        random = Random(SEED + number)  # noqa: S311 - the same calls each time
        with ExitStack() as until_then:
            clients = [until_then.enter_context(Client(address)) for address in addresses]
            noted: list[Call] = []
            for value in range(2, CALLS // (WRITERS + READERS) + 2):
                is_writing = number < WRITERS and random.random() < ODDS_OF_WRITING
                path = random.choice(own[number] if is_writing else [*known, *lists])
                noted += call(random.choice(clients), path, known, value if is_writing else None)
            return noted

    with ThreadPoolExecutor(WRITERS + READERS) as together:
        calls += chain(*together.map(act, range(WRITERS + READERS)))
    writes = sum(one.is_write for one in calls)
    record_testsuite_property(f"values read from {len(servers)} server(s)", len(calls) - writes)
    record_testsuite_property(f"values written to {len(servers)} server(s)", writes)

    assert [] == list(find_wrong(calls))


def test_a_read_that_went_back_would_be_found() -> None:
    """One that gives less than a call that had ended, or more than was being written; not one of two at once."""
    calls = [
        Call("a", 1, 0, 1, is_write=True),
        Call("a", 2, 2, 5, is_write=True),
        Call("a", 2, 3, 4, is_write=False),
        Call("a", 1, 3, 6, is_write=False),
        Call("b", 1, 0, 9, is_write=True),
    ]
    back = Call("a", 1, 4.5, 6, is_write=False)
    ahead = Call("a", 2, 1.2, 1.5, is_write=False)

    assert [] == list(find_wrong(calls))
    assert [f"{back} had to give at least 2 and at most 2."] == list(find_wrong([*calls, back]))
    assert [f"{ahead} had to give at least 1 and at most 1."] == list(find_wrong([*calls[:2], ahead]))


def test_something_acknowledged_that_a_list_lacks_would_be_found() -> None:
    """A list that gives one of two, and has nothing to do with a third, gives 0 for the other."""
    known = ["/sprockets/1", "/sprockets/2", "/production/1/2021-01-21T02:01:00Z"]
    calls = [Call(thing, 1, 0, 1, is_write=True) for thing in known]
    values = values_in([{"id": 2, "pitch": 1.0}], "/sprockets", known)
    calls += [Call(thing, value, 2, 3, is_write=False) for thing, value in values.items()]

    assert {"/sprockets/1": 0, "/sprockets/2": 1} == values
    assert [f"{calls[3]} had to give at least 1 and at most 1."] == list(find_wrong(calls))


def test_something_that_a_list_has_twice_would_be_found() -> None:
    """Whatever the two say."""
    with pytest.raises(AssertionError, match="/sprockets has something twice"):
        values_in([{"id": 2, "pitch": 1.0}, {"id": 2, "pitch": 2.0}], "/sprockets", [])
