"""Fault 13: times that are none, or that only seem to be another moment. None may give a 500."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import BODIES, JSON, body_with, everything, one_of_each, patiently, shortened
from harness import Client, NewDatabase, Service, pointers
from sprocket_factory.entities.instant import EARLIEST, SECOND, now, read_instant, to_datetime, to_text
from sprocket_factory.errors import Invalid

LATEST = 2_000_000_000 * SECOND

NO_TIMES = [
    '"2021-01-21T02:06:58"',
    '"2016-12-31T23:59:60Z"',
    '"2021-01-21T02:06:58+25:00"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59Z"',
    '"2021-01-21T02:06:58.123456789Z"',
    '"yesterday"',
    '""',
    "1611194818000",
    "1611194818.123456789",
    "1" + "0" * 30,
    "9" * 5000,
    "-1",
    "1e999",
    "true",
    "null",
    "[1611194818]",
]
"""JSON for what names no moment, or none that a record may have."""


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database()) as running:
        yield running


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2021-01-21",
        "2021-01-21T02:06:58",
        "2021-01-21T02:06Z",
        "2021-01-21T02Z",
        "20210121T020658Z",
        "2021-W03-4T02:06:58Z",
        "2021-01-21T02:06:58+0100",
        "2021-01-21T02:06:58+1:00",
        "2021-01-21T02:06:58 01:00",
        "2021-01-21T02:06:58\u221201:00",
        "2021-01-21T02:06:58,5Z",
        "2021-01-21T02:06:58.Z",
        " 2021-01-21T02:06:58Z",
        "2021-01-21T02:06:58Z\n",
        "2021-01-21T02:06:58Z\x00",
        "\u0662\u0660\u0662\u0661-01-21T02:06:58Z",
        "1e9",
        "NaN",
        "+1611194818",
        "01611194818",
        "1611194818.",
        "1_611_194_818",
        "1611194818 ",
        "9" * 30,
        "2021-01-21T02:06:58Z" * 50_000,
    ],
)
def test_fault_13_what_is_no_time_is_refused(text: str) -> None:
    """A time is RFC 3339 with an offset, or seconds since 1970, and nothing near it."""
    with pytest.raises(Invalid):
        read_instant(text, LATEST)


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-29T00:00:00Z",
        "2021-13-01T00:00:00Z",
        "2021-00-01T00:00:00Z",
        "2021-01-32T00:00:00Z",
        "2021-01-21T24:00:00Z",
        "2021-01-21T02:60:00Z",
        "2021-01-21T02:06:61Z",
        "2016-12-31T23:59:60Z",
        "2021-01-21T02:06:58+24:00",
        "2021-01-21T02:06:58+25:00",
        "2021-01-21T02:06:58+01:60",
        "2021-01-21T02:06:58-99:99",
        "0000-01-01T00:00:00Z",
    ],
)
def test_fault_13_what_no_calendar_and_no_clock_shows_is_refused(text: str) -> None:
    """Each part is within its range, leap seconds are refused, and nothing is rolled over into the next part."""
    with pytest.raises(Invalid):
        read_instant(text, LATEST)


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1979-12-31T23:59:59.999999Z",
        "2033-05-18T03:33:20.000001Z",
        -1,
        0,
        315_532_799,
        2_000_000_001,
        315_532_799.999999,
        "-1611194818",
        1e30,
        -1e30,
        math.inf,
        math.nan,
        10**30,
        -(10**30),
        10**400,
        -(10**400),
        10**5000,
    ],
    ids=lambda value: f"{'-' * (value < 0)}{value.bit_length()} bits" if isinstance(value, int) else str(value),
)
def test_fault_13_a_time_outside_1980_to_the_latest_is_refused(value: str | float) -> None:
    """However far outside it is, a time is refused as any other."""
    with pytest.raises(Invalid):
        read_instant(value, LATEST)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (to_text(EARLIEST), EARLIEST),
        (EARLIEST // SECOND, EARLIEST),
        (to_text(LATEST), LATEST),
        (str(LATEST // SECOND), LATEST),
        ("2033-05-17T13:33:20-14:00", LATEST),
    ],
    ids=repr,
)
def test_fault_13_the_earliest_and_the_latest_time_are_allowed(value: str | float, expected: int) -> None:
    """The bounds belong to what is allowed, in every form."""
    assert expected == read_instant(value, LATEST)


@pytest.mark.parametrize(
    "value",
    [
        "2021-01-21T02:06:58.1234567Z",
        "2021-01-21T02:06:58.123456789Z",
        "2021-01-21T02:06:58.000000001+01:00",
        "1611194818.123456789",
        "1611194818.123456001",
        "1611194818.0000001",
        1611194818.1234567,
    ],
    ids=repr,
)
def test_fault_13_more_than_six_decimals_are_refused(value: str | float) -> None:
    """Microseconds are all that is kept; what is finer is refused, never rounded."""
    with pytest.raises(Invalid, match="six decimals"):
        read_instant(value, LATEST)


@pytest.mark.parametrize("value", [1_611_194_818_000, "1611194818000", 1_611_194_818_123.5], ids=repr)
def test_fault_13_milliseconds_are_recognised(value: str | float) -> None:
    """The commonest slip is refused with a hint that names it."""
    with pytest.raises(Invalid, match="milliseconds"):
        read_instant(value, now())


@pytest.mark.parametrize(
    "text",
    [
        "2021-01-21T02:06:58Z",
        "2021-01-21t02:06:58z",
        "2021-01-21 02:06:58Z",
        "2021-01-21T02:06:58.0Z",
        "2021-01-21T02:06:58+00:00",
        "2021-01-21T02:06:58-00:00",
        "2021-01-21T03:06:58+01:00",
        "2021-01-20T18:36:58-07:30",
        "2021-01-22T02:05:58+23:59",
        "1611194818",
        "1611194818.0",
    ],
)
def test_fault_13_one_instant_may_be_written_in_many_ways(text: str) -> None:
    """Whatever its offset and its form, a moment is the same moment."""
    assert 1_611_194_818 * SECOND == read_instant(text, LATEST)


@pytest.mark.parametrize(
    ("earlier", "later", "apart"),
    [
        ("2021-10-31T02:30:00+02:00", "2021-10-31T02:30:00+01:00", 3600),
        ("2021-03-28T01:59:59+01:00", "2021-03-28T03:00:00+02:00", 1),
        ("2021-03-14T01:59:59-06:00", "2021-03-14T03:00:00-05:00", 1),
    ],
)
def test_fault_13_a_shifted_clock_moves_no_instant(earlier: str, later: str, apart: int) -> None:
    """The offset alone says which of the two hours of a fold is meant, and that there is nothing within a gap."""
    assert apart * SECOND == read_instant(later, LATEST) - read_instant(earlier, LATEST)


@patiently
@given(st.integers(EARLIEST, LATEST))
def test_fault_13_every_instant_goes_out_as_the_text_that_it_comes_in_as(instant: int) -> None:
    """Text loses nothing of an instant, and has microseconds only where the instant has them."""
    text = to_text(instant)

    assert instant == read_instant(text, LATEST)
    assert text.endswith("Z")
    assert bool(instant % SECOND) == ("." in text)


@patiently
@given(st.integers(EARLIEST, LATEST), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_fault_13_every_instant_comes_in_right_with_any_offset(instant: int, minutes: int) -> None:
    """An offset, of whole minutes up to 23:59 either way, changes the text and not the moment."""
    text = to_datetime(instant).astimezone(timezone(timedelta(minutes=minutes))).isoformat()

    assert instant == read_instant(text, LATEST)


@patiently
@given(st.integers(EARLIEST, LATEST))
def test_fault_13_every_instant_comes_in_right_as_seconds(instant: int) -> None:
    """Fractional seconds, as a number or as text, are exact to the microsecond."""
    text = f"{instant // SECOND}.{instant % SECOND:06}"

    assert [instant, instant] == [read_instant(text, LATEST), read_instant(float(text), LATEST)]


@patiently
@given(st.text() | st.floats() | st.integers() | st.from_regex(r"[0-9T:Zz.+\- ]{0,40}"))
def test_fault_13_whatever_comes_as_a_time_is_an_instant_or_refused(value: str | float) -> None:
    """No text and no number breaks anything, and nothing outside the allowed times comes through."""
    try:
        instant = read_instant(value, LATEST)
    except Invalid:
        return

    assert EARLIEST <= instant <= LATEST
    assert datetime(1980, 1, 1, tzinfo=UTC) <= to_datetime(instant)


@pytest.mark.parametrize("time", NO_TIMES, ids=shortened)
def test_fault_13_a_record_at_no_time_is_refused(engineer: Client, time: str) -> None:
    """The refusal points at the member, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.post("/production", content=body_with("/production", "time", time), headers=JSON)

    assert (422, ["/time"]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


@pytest.mark.parametrize("time", NO_TIMES, ids=shortened)
def test_fault_13_a_record_at_no_time_keeps_all_others_out(engineer: Client, time: str) -> None:
    """Among many the refusal names its row as well, and not even the right ones are stored."""
    before = everything(engineer)
    rows = [json.dumps(BODIES["/production"]).encode(), body_with("/production", "time", time)]
    answer = engineer.post("/production", content=b"[" + b",".join(rows) + b"]", headers=JSON)

    assert (422, [2], ["/time"]) == (
        answer.status_code,
        [error["row"] for error in answer.json()["errors"]],
        pointers(answer.json()),
    )
    assert before == everything(engineer)


@pytest.mark.parametrize("bound", ["time", "time__gte", "time__lt", "time__in"])
@pytest.mark.parametrize("time", [time.strip('"') for time in NO_TIMES], ids=shortened)
def test_fault_13_a_parameter_that_is_no_time_is_refused(viewer: Client, bound: str, time: str) -> None:
    """The refusal names the parameter; it never gives a list of something else."""
    answer = viewer.get("/production", params={bound: time})

    assert (422, [bound]) == (answer.status_code, pointers(answer.json()))
