"""Where hours, days, weeks and months begin in a time zone: as one finds it minute by minute."""

from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from attainments import EPOCH, MICROSECOND, ODD_ZONES, told, zone_named
from sprocket_factory.entities.calendar import (
    By,
    day_of,
    first_day_of,
    last_day_of,
    quarter_slots,
    slot_of,
    slots_of,
    span_of_day,
    span_of_days,
    span_of_hour,
    spans_between,
    to_local_text,
    whole_days,
    zone_of,
)

LONGER: tuple[By, By] = ("week", "month")

Around = list[list[tuple[datetime, datetime]]]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def instant_of(moment: datetime) -> int:
    """Return a moment as the program counts it."""
    return (moment - EPOCH) // MICROSECOND


@pytest.fixture(scope="module", params=ODD_ZONES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a zone."""
    zone_name: str = request.param
    return zone_name


@pytest.fixture(scope="module")
def around(name: str) -> Around:
    """Return the minutes of the days around changes of the clocks, in UTC and local; common ones where none is."""
    zone = zone_named(name)
    days = []
    for change in changes(name) or [datetime(2021, 1, 21, tzinfo=UTC)]:
        begin = change.replace(hour=0) - 2 * DAY
        moments = [begin + number * MINUTE for number in range(4 * 24 * 60)]
        days.append([(moment, moment.astimezone(zone)) for moment in moments])
    return days


def changes(name: str) -> list[datetime]:
    """Return about when the clocks of a zone were changed: the hour before it, once for each way in twelve years.

    Ways differ in the offsets, in the hour, and in whether a month begins then.
    """
    zone = zone_named(name)
    ways: dict[object, datetime] = {}
    for day in (datetime(2004, 1, 1, tzinfo=UTC) + number * DAY for number in range(12 * 365)):
        if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
            before, after = next(
                (local, later)
                for local, later in pairwise((day + number * HOUR).astimezone(zone) for number in range(25))
                if local.utcoffset() != later.utcoffset()
            )
            way = (before.utcoffset(), after.utcoffset(), before.hour, after.day == 1)
            ways.setdefault(way, before.astimezone(UTC))
    return list(ways.values())


def spans(minutes: list[tuple[datetime, datetime]], key: object) -> dict[object, tuple[int, int]]:
    """Return for each key that local times have the first instant, and the first one after the last minute."""
    found: dict[object, tuple[int, int]] = {}
    for moment, local in minutes:
        of = key(local)  # type: ignore[operator]
        start, _ = found.get(of, (instant_of(moment), 0))
        found[of] = (start, instant_of(moment + MINUTE))
    return found


def test_a_slot_is_a_run_of_one_offset_within_a_quarter_hour(name: str, around: Around) -> None:
    """Cut where the clocks are changed, slots cover each quarter-hour, and each lies in one local date."""
    for minutes in around:
        for place in range(0, len(minutes), 15):
            quarter = minutes[place : place + 15]
            runs = [list(run) for _, run in groupby(quarter, key=lambda minute: minute[1].utcoffset())]
            expected = [
                ((run[0][1].date() - date(1970, 1, 1)).days, instant_of(run[0][0]), instant_of(run[-1][0] + MINUTE))
                for run in runs
            ]

            assert expected == list(slots_of(zone_of(name), instant_of(quarter[0][0])))
            assert expected == [tuple(slot) for slot in quarter_slots(zone_of(name), instant_of(quarter[0][0]))]
            assert expected[-1] == slot_of(zone_of(name), instant_of(quarter[-1][0]))


def test_a_day_spans_what_has_its_date(name: str, around: Around) -> None:
    """From the first instant of a local date to the last, whatever becomes of midnight; None where it was left out."""
    for minutes in around:
        expected = spans(minutes, lambda local: local.date())
        dates = [minutes[0][1].date() + number * DAY for number in range(1, 4)]
        assert [expected.get(date_) for date_ in dates] == [
            span_of_day(zone_of(name), (date_ - date(1970, 1, 1)).days) for date_ in dates
        ]


def test_an_hour_is_a_run_of_one_date_one_hour_and_one_offset(name: str, around: Around) -> None:
    """The hour in which clocks go back comes twice, and none has parts of two."""
    for minutes in around:
        expected = spans(minutes, lambda local: (local.date(), local.hour, local.utcoffset()))
        edges = {minutes[0][1].replace(minute=0), minutes[-1][1].replace(minute=0)}
        for moment, local in minutes[::7]:
            if local.replace(minute=0) not in edges:
                key = (local.date(), local.hour, local.utcoffset())
                assert expected[key] == span_of_hour(zone_of(name), instant_of(moment))


def test_the_calendar_between_two_instants_is_whole(name: str, around: Around) -> None:
    """Every hour, day, week and month that has an instant from the one up to the other, in order and each once."""
    zone = zone_of(name)
    for minutes in around:
        since, until = instant_of(minutes[1000][0]), instant_of(minutes[-1000][0])
        inside = minutes[1000:-1000]
        within = {(local.date(), local.hour, local.utcoffset()): moment for moment, local in inside}
        hours = sorted(span_of_hour(zone, instant_of(moment)) for moment in within.values())
        days = sorted({(local.date() - date(1970, 1, 1)).days for _, local in inside})

        assert hours == list(spans_between(zone, "hour", since, until))
        assert [span_of_day(zone, day) for day in days] == list(spans_between(zone, "day", since, until))
        for by in LONGER:
            parts = sorted({(first_day_of(by, day), last_day_of(by, day)) for day in days})
            assert [span_of_days(zone, *part) for part in parts] == list(spans_between(zone, by, since, until))


def test_a_local_text_has_the_offset_of_its_moment(name: str, around: Around) -> None:
    """Texts are those of the local time, with its offset; Z where that is none."""
    for minutes in around:
        for moment, local in minutes[::61]:
            assert told(local) == to_local_text(zone_of(name), instant_of(moment))


@given(
    st.sampled_from(ODD_ZONES),
    st.integers(0, 18 * 365 * 24 * 60),
    st.integers(0, 6 * 24 * 60),
)
@hypothesis_settings(deadline=None, max_examples=80)
def test_a_day_is_whole_if_all_its_minutes_are_inside(name: str, minutes: int, length: int) -> None:
    """Of the dates between two bounds those are whole of which no minute lies outside."""
    begin = datetime(2005, 1, 1, tzinfo=UTC) + minutes * MINUTE
    end = begin + length * MINUTE
    zone = zone_named(name)
    inside: dict[date, bool] = {}
    for moment in (begin - DAY + number * MINUTE for number in range(length + 2 * 24 * 60)):
        of = moment.astimezone(zone).date()
        inside[of] = inside.get(of, True) and begin <= moment < end
    expected = [(day - date(1970, 1, 1)).days for day, whole in inside.items() if whole]

    first, last = whole_days(zone_of(name), instant_of(begin), instant_of(end))
    given_days = [day for day in range(first, last + 1) if span_of_day(zone_of(name), day) is not None]

    assert sorted(expected) == given_days


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    """Weeks are ISO weeks, of seven days, and months are those of the calendar."""
    days = [date(2019, 12, 25) + number * DAY for number in range(800)]
    numbers = [(day - date(1970, 1, 1)).days for day in days]

    assert [(day - day.weekday() * DAY) for day in days] == [
        date(1970, 1, 1) + first_day_of("week", number) * DAY for number in numbers
    ]
    assert {6} == {last_day_of("week", number) - first_day_of("week", number) for number in numbers}
    assert [day.replace(day=1) for day in days] == [
        date(1970, 1, 1) + first_day_of("month", number) * DAY for number in numbers
    ]
    assert {1} == {(date(1970, 1, 1) + (last_day_of("month", number) + 1) * DAY).day for number in numbers}


def test_a_day_is_that_of_the_local_time(name: str, around: Around) -> None:
    """The date of a moment is what a calendar on the wall there shows."""
    for minutes in around:
        for moment, local in minutes[::13]:
            assert (local.date() - date(1970, 1, 1)).days == day_of(zone_of(name), instant_of(moment))
