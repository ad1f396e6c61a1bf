"""Spans of production: what is removed of one factory from one moment up to another."""

import httpx
import pytest

from harness import Client, Service, forget_everything
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import NewFactory, add_factory

MINUTES = [f"2021-01-21T02:0{minute}:00Z" for minute in range(6)]

SPAN = {"factory_id": "1", "time__gte": MINUTES[1], "time__lt": MINUTES[4]}
"""Three of the six minutes."""


@pytest.fixture
def service(running: Service) -> Service:
    """Return the service with two factories, 1 and 2, and six minutes of production of each."""
    running.run(running.database.write, begin_with_two_factories, by="test")
    with Client(running.address) as machine:
        machine.post("/production", json=everything()).raise_for_status()
    return running


async def begin_with_two_factories(tx: Transaction) -> None:
    """Remove every row, and that ids were ever given, then add the factories."""
    await forget_everything(tx)
    for name in ("Sheffield", "Osaka"):
        await add_factory(tx, NewFactory(name=name))


def records(factory_id: int, times: list[str]) -> list[dict[str, object]]:
    """Return the records of a factory at these times."""
    return [
        {"sprocket_production_actual": 29, "sprocket_production_goal": 32, "time": time, "factory_id": factory_id}
        for time in times
    ]


def everything() -> list[dict[str, object]]:
    """Return all that is stored in the beginning."""
    return records(1, MINUTES) + records(2, MINUTES)


def remove(client: Client, **parameters: str) -> httpx.Response:
    """Remove a span."""
    return client.delete("/production", params=parameters)


def pointers(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem["errors"]]


def test_a_span_is_removed_from_its_beginning_up_to_its_end(engineer: Client, viewer: Client) -> None:
    """The record at time__gte is removed, the one at time__lt stays, and no other factory loses anything."""
    answer = remove(engineer, **SPAN)

    assert (200, {"removed": 3}) == (answer.status_code, answer.json())
    assert records(1, [MINUTES[0], *MINUTES[4:]]) + records(2, MINUTES) == viewer.get("/production").json()


def test_a_dry_run_counts_and_removes_nothing(engineer: Client, viewer: Client) -> None:
    """With dry_run the answer is that of the removal, and everything stays."""
    answer = remove(engineer, **SPAN, dry_run="true")

    assert (200, {"removed": 3}) == (answer.status_code, answer.json())
    assert everything() == viewer.get("/production").json()


def test_a_dry_run_that_is_none_removes(engineer: Client, viewer: Client) -> None:
    """`dry_run=false` is as if it were left out."""
    answer = remove(engineer, **SPAN, dry_run="false")

    assert (200, {"removed": 3}) == (answer.status_code, answer.json())
    assert 9 == len(viewer.get("/production").json())


def test_a_span_removed_twice_is_gone_once(engineer: Client, viewer: Client) -> None:
    """A span without records is 200 and removes none."""
    remove(engineer, **SPAN)
    answer = remove(engineer, **SPAN)

    assert (200, {"removed": 0}) == (answer.status_code, answer.json())
    assert 9 == len(viewer.get("/production").json())


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("1611194460", "1611194640.0"),
        ("2021-01-21T07:46:00+05:45", "2021-01-20T23:04:00-03:00"),
        ("2021-01-21T02:00:00.000001Z", "2021-01-21T02:03:00.000001Z"),
    ],
)
def test_the_bounds_of_a_span_come_in_any_form_of_time(
    engineer: Client, viewer: Client, since: str, until: str
) -> None:
    """Offsets, seconds and microseconds name the same moments."""
    answer = remove(engineer, factory_id="1", time__gte=since, time__lt=until)

    assert (200, {"removed": 3}) == (answer.status_code, answer.json())
    assert records(1, [MINUTES[0], *MINUTES[4:]]) + records(2, MINUTES) == viewer.get("/production").json()


def test_a_plus_that_nobody_encoded_is_read_as_it_was_meant(engineer: Client, viewer: Client) -> None:
    """In a query a plus sign means a space; before an offset it is a plus sign all the same."""
    answer = engineer.delete(
        "/production?factory_id=1&time__gte=2021-01-21T07:46:00+05:45&time__lt=2021-01-21T07:49:00+05:45"
    )

    assert (200, {"removed": 3}) == (answer.status_code, answer.json())
    assert 9 == len(viewer.get("/production").json())


def test_a_factory_whose_production_was_removed_can_be_removed(engineer: Client, viewer: Client) -> None:
    """Nothing is left of the records, so nothing stands in the way."""
    remove(engineer, factory_id="1", time__gte="1980-01-01T00:00:00Z", time__lt="2022-01-01T00:00:00Z")
    answer = engineer.delete("/factories/1")

    assert 204 == answer.status_code
    assert records(2, MINUTES) == viewer.get("/production").json()


@pytest.mark.parametrize("missing", SPAN)
def test_a_span_needs_a_factory_and_both_its_bounds(engineer: Client, missing: str) -> None:
    """What is left out is named, and nothing is removed: no slip removes more than was meant."""
    answer = remove(engineer, **{name: value for name, value in SPAN.items() if name != missing})

    assert (422, [missing]) == (answer.status_code, pointers(answer.json()))
    assert everything() == engineer.get("/production").json()


@pytest.mark.parametrize("query", ["", "?dry_run=false", "?factory_id=1"])
def test_a_removal_without_a_span_is_refused(engineer: Client, query: str) -> None:
    """There is no way to remove everything in one word."""
    answer = engineer.delete(f"/production{query}")

    assert (422, "/problems/invalid") == (answer.status_code, answer.json()["type"])
    assert everything() == engineer.get("/production").json()


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("factory_id", value) for value in ("", "0", "-1", "1.0", "01", "1,2", "osaka", "9223372036854775808")),
        *(("time__gte", value) for value in ("", "yesterday", "2021-01-21", "2021-01-21T02:01:00", "1611194460000")),
        *(("time__lt", value) for value in ("", "now", "2021-02-30T00:00:00Z", "2021-01-21T02:04:60Z", "1e9")),
        *(("dry_run", value) for value in ("", "yes", "1", "TRUE")),
    ],
)
def test_a_parameter_of_a_span_that_is_none_is_refused(engineer: Client, parameter: str, value: str) -> None:
    """The refusal names the parameter, and nothing is removed."""
    answer = remove(engineer, **SPAN | {parameter: value})

    assert (422, [parameter]) == (answer.status_code, pointers(answer.json()))
    assert everything() == engineer.get("/production").json()


def test_a_span_that_ends_before_it_begins_is_refused(engineer: Client) -> None:
    """Bounds the wrong way round are a slip, not an empty span."""
    answer = remove(engineer, factory_id="1", time__gte=MINUTES[4], time__lt=MINUTES[1])

    assert (422, ["time__lt"]) == (answer.status_code, pointers(answer.json()))
    assert everything() == engineer.get("/production").json()


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize("factory_id", ["3", "9223372036854775807"])
def test_a_span_of_an_unknown_factory_is_not_found(engineer: Client, factory_id: str, dry_run: str) -> None:
    """A factory that does not exist is 404, in a dry run as well, and nothing is removed."""
    answer = remove(engineer, **SPAN | {"factory_id": factory_id, "dry_run": dry_run})

    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])
    assert everything() == engineer.get("/production").json()


@pytest.mark.parametrize(
    "repeated", ["factory_id=1", "factory_id=2", f"time__lt={MINUTES[5]}", f"time__gte={MINUTES[1]}"]
)
def test_fault_23_a_parameter_of_a_span_that_is_repeated_is_refused(engineer: Client, repeated: str) -> None:
    """Which of two was meant is anybody's guess: 422 names it, and nothing is removed."""
    answer = engineer.delete(f"/production?{httpx.QueryParams(SPAN)}&{repeated}")

    assert (422, [repeated.split("=", maxsplit=1)[0]]) == (answer.status_code, pointers(answer.json()))
    assert everything() == engineer.get("/production").json()


@pytest.mark.parametrize(
    ("unknown", "meant"), [("time__gt", "time__gte"), ("dryrun", "dry_run"), ("factory", "factory_id")]
)
def test_fault_23_an_unknown_parameter_of_a_span_is_refused(engineer: Client, unknown: str, meant: str) -> None:
    """A removal heeds everything that was said or nothing: 422 names the parameter and the nearest known one."""
    answer = remove(engineer, **SPAN, **{unknown: "1"})

    assert (422, [unknown]) == (answer.status_code, pointers(answer.json()))
    assert f"{meant}?" in answer.json()["errors"][0]["detail"]
    assert everything() == engineer.get("/production").json()
