"""Attainment in the factory's own time zone, and within bounds: the same as summed up record by record."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from attainments import (
    ODD_ZONES,
    Record,
    add_factory_in,
    attainment,
    bucket_of,
    compare_rollups,
    expected_sums,
    given_sums,
    send_records,
    told,
    zone_named,
)
from harness import Client, Service, forget_everything
from sprocket_factory.entities import attainment_sums
from sprocket_factory.entities.factory import known_time_zones

MINUTE = timedelta(minutes=1)

BY = ("hour", "day", "week", "month", "total")

CHANGES = {
    "America/St_Johns": datetime(2010, 11, 7, 2, 31, tzinfo=UTC),
    "America/Sao_Paulo": datetime(2018, 11, 4, 3, 0, tzinfo=UTC),
    "America/Havana": datetime(2021, 11, 7, 5, 0, tzinfo=UTC),
    "Asia/Gaza": datetime(2010, 3, 26, 22, 1, tzinfo=UTC),
    "Asia/Kathmandu": datetime(1985, 12, 31, 18, 30, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2021, 4, 3, 15, 0, tzinfo=UTC),
    "Pacific/Apia": datetime(2011, 12, 30, 10, 0, tzinfo=UTC),
    "Pacific/Chatham": datetime(2021, 4, 3, 14, 0, tzinfo=UTC),
    "Antarctica/Troll": datetime(2021, 3, 28, 1, 0, tzinfo=UTC),
    "Africa/Casablanca": datetime(2021, 4, 11, 2, 0, tzinfo=UTC),
    "Europe/London": datetime(2021, 10, 31, 1, 0, tzinfo=UTC),
}
"""A moment at which clocks are changed in each of the odd zones."""


distances = st.one_of(
    st.integers(-250, 250).map(lambda quarters: quarters * 15 * MINUTE),
    st.integers(-4000, 4000).map(lambda minutes: minutes * MINUTE),
    st.integers(-4 * 10**9, 4 * 10**9).map(lambda microseconds: timedelta(microseconds=microseconds)),
    st.integers(-120, 120).map(lambda hours: timedelta(hours=hours, microseconds=hours % 3 - 1)),
)
"""How far a bound is from a change of clocks: on boundaries, beside them, and anywhere."""


class World(NamedTuple):
    """Somebody who reads, the zone of each factory, and all the records."""

    client: Client
    zones: dict[int, str]
    records: list[Record]

    def __repr__(self) -> str:
        """Say no more than how many records there are: a failure is not to print them."""
        return f"{len(self.records)} records"


def made_up(factory_id: int, change: datetime, random: Random) -> list[Record]:
    """Return records around a moment, many of them on boundaries or a microsecond beside one."""
    moments = {change + random.randint(-260, 260) * 15 * MINUTE for _ in range(120)}
    moments |= {moment - timedelta(microseconds=1) for moment in list(moments)[::3]}
    moments |= {change + random.randint(-3000, 3000) * MINUTE for _ in range(120)}
    moments |= {change + number * timedelta(seconds=20) for number in range(-200, 200)}
    return [Record(factory_id, moment, random.randint(0, 99), random.randint(0, 99)) for moment in sorted(moments)]


def send_all(client: Client, records: list[Record]) -> None:
    """Store records."""
    rows = [
        {
            "factory_id": record.factory_id,
            "time": told(record.moment),
            "sprocket_production_actual": record.actual,
            "sprocket_production_goal": record.goal,
        }
        for record in records
    ]
    client.post("/production", json=rows).raise_for_status()


@pytest.fixture(scope="module")
def world(running: Service) -> Iterator[World]:
    """Give somebody who reads, the zone of each factory, and all the records around a change of clocks in each."""
    running.run(running.database.write, forget_everything, by="test")
    random = Random(7)  # noqa: S311 - sample data
    zones: dict[int, str] = {}
    records: list[Record] = []
    with Client(running.address) as client:
        for name, change in CHANGES.items():
            factory_id = add_factory_in(client, name)
            zones[factory_id] = name
            records += made_up(factory_id, change, random)
        send_all(client, records)
        yield World(client, zones, records)


def test_there_is_a_change_of_clocks_in_every_odd_zone() -> None:
    """What is tried is what is hard: clocks are changed just then."""
    changed = {
        name: change.astimezone(zone_named(name)).utcoffset()
        != (change - timedelta(microseconds=1)).astimezone(zone_named(name)).utcoffset()
        for name, change in CHANGES.items()
    }

    assert dict.fromkeys(ODD_ZONES, True) == changed


@pytest.mark.parametrize("by", BY)
def test_sums_are_those_of_the_records_whatever_the_clocks_do(world: World, by: str) -> None:
    """Around a change of clocks every bucket has the records of its local time, all of them and no other."""
    client, zones, records = world

    assert expected_sums(by, zones, records) == given_sums(attainment(client, by))


@pytest.mark.parametrize("by", ["hour", "day", "week", "month"])
def test_a_bucket_spans_its_records_and_no_others(world: World, by: str) -> None:
    """Start and end have the same bucket just inside of them and another one just outside."""
    client, zones, _ = world
    for one in attainment(client, by):
        zone = zone_named(zones[one["factory_id"]])
        start, end = datetime.fromisoformat(one["start"]), datetime.fromisoformat(one["end"])
        key = bucket_of(by, datetime.fromisoformat(one["first"]).astimezone(zone))
        moments = [start, end - timedelta(microseconds=1), start - timedelta(microseconds=1), end]
        moments = [moment.astimezone(UTC) for moment in moments]

        assert [True, True, False, False] == [key == bucket_of(by, moment.astimezone(zone)) for moment in moments]
        assert [start.utcoffset(), end.utcoffset()] == [
            moments[0].astimezone(zone).utcoffset(),
            moments[3].astimezone(zone).utcoffset(),
        ]


def test_the_stored_sums_are_those_of_the_records(world: World, running: Service) -> None:
    """What lies beneath is right as well, slot by slot and date by date."""
    del world
    expected, stored = compare_rollups(running)

    assert expected == stored


@given(
    places=st.sets(st.integers(0, len(CHANGES) - 1), min_size=1, max_size=3),
    since=distances,
    until=distances,
    left_out=st.sampled_from(["", "", "time__gte", "time__lt"]),
    by=st.sampled_from(BY),
)
@hypothesis_settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bounds_cut_to_the_microsecond(  # noqa: PLR0913 - what bounds may be
    world: World, *, places: set[int], since: timedelta, until: timedelta, left_out: str, by: str
) -> None:
    """Whatever the bounds are, and whichever buckets they cut, only the records between them count."""
    client, zones, records = world
    wanted = [sorted(zones)[place] for place in sorted(places)]
    change = CHANGES[zones[wanted[0]]]
    begin, end = change + since, change + until
    bounds = {"time__gte": told(begin), "time__lt": told(end)}
    bounds.pop(left_out, None)
    inside = [
        record
        for record in records
        if record.factory_id in wanted
        and ("time__gte" not in bounds or begin <= record.moment)
        and ("time__lt" not in bounds or record.moment < end)
    ]

    found = attainment(client, by, factory_id__in=",".join(map(str, wanted)), **bounds)

    assert expected_sums(by, zones, inside) == given_sums(found)
    order = [(one["factory_id"], datetime.fromisoformat(one["start"])) for one in found]
    assert sorted(order) == order


def every_minute(client: Client, factory_id: int, since: datetime, hours: int) -> None:
    """Store a record of 1 for each minute of so many hours."""
    send_records(client, factory_id, *(told(since + number * MINUTE) for number in range(hours * 60)))


@pytest.mark.parametrize("by", BY)
def test_a_factory_that_moves_while_it_is_asked_for_is_not_left_out(
    engineer: Client, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Within bounds, too, sums are of one moment: before it has moved, or after."""
    factory_id = add_factory_in(engineer, "UTC")
    bounds = {"time__gte": "2021-01-01T00:07:00Z", "time__lt": "2021-02-01T00:07:00Z"}
    send_records(engineer, factory_id, "2021-01-21T02:06:58Z")
    moved: list[httpx.Response] = []
    select = attainment_sums.select_sums

    async def select_and_let_others_go_on(*args: Any) -> Any:
        selected = await select(*args)
        if not moved:
            there = {"time_zone": "Asia/Kathmandu"}
            moved.append(await asyncio.to_thread(engineer.patch, f"/factories/{factory_id}", json=there))
        return selected

    monkeypatch.setattr(attainment_sums, "select_sums", select_and_let_others_go_on)
    meanwhile = attainment(engineer, by, **bounds)

    assert [200] == [answer.status_code for answer in moved]
    assert attainment(engineer, by, **bounds) == meanwhile != []


def test_each_factory_may_have_a_time_zone_of_its_own(engineer: Client) -> None:
    """However many there are, their sums within bounds are found at once."""
    zones = sorted(known_time_zones())[:130]
    factories = [add_factory_in(engineer, zone) for zone in zones]
    for factory_id in factories:
        send_records(engineer, factory_id, "2021-01-21T02:06:58Z")
    found = attainment(engineer, "day", time__gte="2021-01-01T00:07:00Z", time__lt="2021-02-01T00:07:00Z")

    assert factories == [bucket["factory_id"] for bucket in found]


def test_fault_13_sums_over_days_of_23_and_25_hours_are_right(engineer: Client) -> None:
    """In London the last Sunday of March has 23 hours and that of October 25, all of their minutes."""
    london = add_factory_in(engineer, "Europe/London")
    every_minute(engineer, london, datetime(2021, 3, 27, 22, tzinfo=UTC), 50)
    every_minute(engineer, london, datetime(2021, 10, 29, 22, tzinfo=UTC), 75)
    days = {one["start"]: (one["end"], one["records"]) for one in attainment(engineer, "day")}
    hours = [one["start"] for one in attainment(engineer, "hour") if one["start"].startswith("2021-10-31T01")]

    assert ("2021-03-29T00:00:00+01:00", 23 * 60) == days["2021-03-28T00:00:00Z"]
    assert ("2021-11-01T00:00:00Z", 25 * 60) == days["2021-10-31T00:00:00+01:00"]
    assert ["2021-10-31T01:00:00+01:00", "2021-10-31T01:00:00Z"] == hours


def test_where_clocks_go_back_by_half_an_hour_the_hour_has_two_runs(engineer: Client) -> None:
    """On Lord Howe Island it is half past one twice: one hour of 60 minutes, and then one of 30."""
    lord_howe = add_factory_in(engineer, "Australia/Lord_Howe")
    every_minute(engineer, lord_howe, datetime(2021, 4, 3, 13, 30, tzinfo=UTC), 4)
    found = [(one["start"][11:], one["end"][11:], one["records"]) for one in attainment(engineer, "hour")]

    assert [
        ("00:00:00+11:00", "01:00:00+11:00", 30),
        ("01:00:00+11:00", "01:30:00+10:30", 60),
        ("01:30:00+10:30", "02:00:00+10:30", 30),
        ("02:00:00+10:30", "03:00:00+10:30", 60),
        ("03:00:00+10:30", "04:00:00+10:30", 60),
    ] == found


def test_a_date_that_was_left_out_has_no_bucket(engineer: Client) -> None:
    """Samoa had no 2011-12-30: the day before it ends where the day after it begins."""
    apia = add_factory_in(engineer, "Pacific/Apia")
    every_minute(engineer, apia, datetime(2011, 12, 29, 10, tzinfo=UTC), 48)
    found = [(one["start"], one["end"], one["records"]) for one in attainment(engineer, "day")]

    assert [
        ("2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", 24 * 60),
        ("2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00", 24 * 60),
    ] == found
