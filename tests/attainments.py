"""What the tests of attainment share: the same sums made record by record, with none of the program's own calendar."""

import zoneinfo
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from harness import Client, Service
from sprocket_factory.database import Database

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
QUARTER = timedelta(minutes=15)

ODD_ZONES = (
    "America/St_Johns",  # until 2011 clocks were changed at one minute past midnight, and went back into the day before
    "America/Sao_Paulo",  # a midnight that is not there
    "America/Havana",  # a midnight that comes twice
    "Asia/Gaza",
    "Asia/Kathmandu",  # :45
    "Australia/Lord_Howe",  # clocks are changed by half an hour
    "Pacific/Apia",  # a date that was left out
    "Pacific/Chatham",  # :45, with summer time
    "Antarctica/Troll",  # clocks are changed by two hours
    "Africa/Casablanca",
    "Europe/London",
)

Sums = tuple[int, int, int, str, str]
"""actual, goal, records, first, last"""


class Record(NamedTuple):
    """A record as it is stored."""

    factory_id: int
    moment: datetime
    actual: int
    goal: int


@cache
def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """Return a zone of the pinned tzdata."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file, key=name)


def told(moment: datetime) -> str:
    """Return a moment as the service tells it."""
    return moment.isoformat().replace("+00:00", "Z")


def bucket_of(by: str, local: datetime) -> Hashable:
    """Return what tells the bucket of a local time from others."""
    buckets: dict[str, Hashable] = {
        "hour": (local.date(), local.hour, local.utcoffset()),
        "day": local.date(),
        "week": local.isocalendar()[:2],
        "month": (local.year, local.month),
        "total": None,
    }
    return buckets[by]


def sums_of(records: Iterable[Record]) -> Sums:
    """Return what records come to."""
    _, moments, actuals, goals = zip(*records, strict=True)
    return sum(actuals), sum(goals), len(moments), told(min(moments)), told(max(moments))


def expected_sums(by: str, zones: dict[int, str], records: Iterable[Record]) -> list[tuple[int, Sums]]:
    """Return the factory and the sums of each bucket, by factory and first record: made record by record."""
    buckets: dict[Hashable, list[Record]] = defaultdict(list)
    for record in records:
        local = record.moment.astimezone(zone_named(zones[record.factory_id]))
        buckets[record.factory_id, bucket_of(by, local)].append(record)
    return sorted((held[0].factory_id, sums_of(held)) for held in buckets.values())


def given_sums(buckets: Sequence[dict[str, Any]]) -> list[tuple[int, Sums]]:
    """Return the same of what the service tells."""
    return sorted(
        (one["factory_id"], (one["actual"], one["goal"], one["records"], one["first"], one["last"])) for one in buckets
    )


def attainment(client: Client, by: str, **parameters: str | int) -> list[dict[str, Any]]:
    """Return the buckets that the service tells."""
    buckets: list[dict[str, Any]] = client.get("/attainment", params={"by": by, **parameters}).raise_for_status().json()
    return buckets


def add_factory_in(client: Client, time_zone: str, name: str = "") -> int:
    """Make a factory known in a time zone and return its id."""
    new = {"name": name or f"In {time_zone}", "time_zone": time_zone}
    made: int = client.post("/factories", json=new).raise_for_status().json()["id"]
    return made


def send_records(client: Client, factory_id: int, *texts: str, actual: int = 1, goal: int = 2) -> None:
    """Store a record at each of these times."""
    rows = [
        {
            "factory_id": factory_id,
            "time": text,
            "sprocket_production_actual": actual,
            "sprocket_production_goal": goal,
        }
        for text in texts
    ]
    client.post("/production", json=rows).raise_for_status()


class Rollups(NamedTuple):
    """All sums that are stored, or ought to be."""

    days: dict[tuple[int, date], tuple[Any, ...]]
    slots: dict[tuple[int, datetime, date, timedelta | None], tuple[Any, ...]]
    """By factory, quarter-hour of UTC, local date and offset."""


async def stored_rollups(database: Database) -> Rollups:
    """Return the sums that are stored, without those of nothing."""
    columns = "actual, goal, records, first, last"
    days = await database.all(f"SELECT factory_id, day, {columns} FROM production_days WHERE records > 0")
    slots = await database.all(f"SELECT factory_id, start, day, {columns} FROM production_quarters WHERE records > 0")
    zones = await _zones(database)
    return Rollups(
        {(factory_id, _date(day)): tuple(sums) for factory_id, day, *sums in days},
        {
            (id_, _quarter(_moment(start)), _date(day), _moment(start).astimezone(zones[id_]).utcoffset()): tuple(sums)
            for id_, start, day, *sums in slots
        },
    )


async def recounted_rollups(database: Database) -> Rollups:
    """Return what they ought to be, record by record."""
    zones = await _zones(database)
    days: dict[Any, list[Any]] = defaultdict(list)
    slots: dict[Any, list[Any]] = defaultdict(list)
    for factory_id, time, actual, goal in await database.all(
        "SELECT factory_id, time, sprocket_production_actual, sprocket_production_goal FROM production"
    ):
        local = _moment(time).astimezone(zones[factory_id])
        days[factory_id, local.date()].append((actual, goal, 1, time, time))
        slots[factory_id, _quarter(local), local.date(), local.utcoffset()].append((actual, goal, 1, time, time))
    return Rollups(_summed(days), _summed(slots))


def compare_rollups(service: Service) -> tuple[Rollups, Rollups]:
    """Return the sums as they ought to be, and as they are stored."""
    return service.run(recounted_rollups, service.database), service.run(stored_rollups, service.database)


async def _zones(database: Database) -> dict[int, zoneinfo.ZoneInfo]:
    return {id_: zone_named(name) for id_, name in await database.all("SELECT id, time_zone FROM factories")}


def _summed(buckets: dict[Any, list[Any]]) -> dict[Any, tuple[Any, ...]]:
    summed = {}
    for key, rows in buckets.items():
        actuals, goals, ones, firsts, lasts = zip(*rows, strict=True)
        summed[key] = (sum(actuals), sum(goals), sum(ones), min(firsts), max(lasts))
    return summed


def _moment(instant: int) -> datetime:
    return EPOCH + instant * MICROSECOND


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _quarter(moment: datetime) -> datetime:
    return EPOCH + (moment.astimezone(UTC) - EPOCH) // QUARTER * QUARTER
