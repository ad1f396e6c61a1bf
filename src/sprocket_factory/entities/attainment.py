"""Attainment: what was made of what was set out to be made, per hour, day, week, month or in all.

Sums come from the roll-ups (attainment_rollup.py), so that reading costs by the bucket and not by the record. A bound
of time that cuts a bucket is exact all the same: local dates that lie whole within the bounds come from the sums per
day, the rest of them from the sums per slot, and only the slot that a bound cuts is read record by record.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from sprocket_factory.database import Database, Value
from sprocket_factory.entities import Id
from sprocket_factory.entities.calendar import (
    By,
    Slot,
    day_of,
    first_day_of,
    slot_of,
    span_of_hour,
    texts_of_days,
    texts_of_hour,
    to_local_text,
    whole_days,
    zone_of,
)
from sprocket_factory.entities.instant import DAY, EARLIEST, LATEST, SECOND, Time, to_datetime
from sprocket_factory.entities.listing import Kind
from sprocket_factory.entities.remembered import Remembered

Bucketing = Literal["hour", "day", "week", "month", "total"]

BUCKETINGS: tuple[Bucketing, ...] = get_args(Bucketing)

DECIMALS = 4
"""Of the attainment: a hundredth of a per cent."""

LocalTime = Annotated[
    str,
    Meta(
        description="RFC 3339, with the factory's own offset at that moment.",
        extra_json_schema={"format": "date-time"},
    ),
]


class Attainment(Struct, frozen=True, gc=False):
    """What one factory made of its goal within one bucket, and what that rests on."""

    factory_id: Id
    start: LocalTime
    end: LocalTime
    """The first instant that is not in the bucket any more; in all, the last record's."""
    actual: int
    goal: int
    variance: int
    """actual - goal."""
    attainment: float | None
    """actual / goal, to four decimals and never capped; null where the goal is 0."""
    records: int
    first: Time
    last: Time


COLUMNS: Mapping[str, Kind] = {
    "factory_id": "integer",
    "start": "text",
    "end": "text",
    "actual": "integer",
    "goal": "integer",
    "variance": "integer",
    "attainment": "shown",
    "records": "integer",
    "first": "time",
    "last": "time",
}
"""The members in their order, as formats.py wants them."""


class Bounds(NamedTuple):
    """From an instant up to, not including, another."""

    since: int = EARLIEST
    until: int = (LATEST + SECOND) - 365 * DAY
    """9999-01-01: the calendar goes on for the rest of the month there, in every time zone."""


EVER = Bounds()


class _Sums(NamedTuple):
    """What one row of a roll-up, or several records, come to."""

    time_zone: str
    factory_id: int
    day: int
    start: int
    actual: int
    goal: int
    records: int
    first: int
    last: int


async def stream_attainment(
    db: Database, by: Bucketing, factory_ids: Collection[int] | None = None, bounds: Bounds = EVER
) -> AsyncGenerator[list[Attainment]]:
    """Give the buckets that hold records in chunks, by factory and start, from one snapshot.

    Args:
        db: Where they are.
        by: What one bucket is.
        factory_ids: Whose; None for all factories'.
        bounds: Only records within count.

    Raises:
        Busy: Too many lists are being read.
        TooSlow: It took longer than allowed to find.
    """
    if bounds.since >= bounds.until or (factory_ids is not None and not factory_ids):
        return
    sql, values = await _select(db, by, factory_ids, bounds)
    if by == "day" and bounds == EVER:  # each row is a bucket
        async with aclosing(db.stream(_attainment_of_day, sql, values)) as days:
            async for day in days:
                yield day
        return
    bucket_of = _BUCKETS[by]
    pending: list[_Sums] = []
    async with aclosing(db.stream(_Sums, sql, values, scans=by == "hour" or bounds != EVER)) as chunks:
        async for chunk in chunks:
            groups = [list(group) for _, group in groupby(pending + chunk, bucket_of)]
            pending = groups.pop() if groups else []  # it may go on in the next chunk
            if groups:
                yield [_attainment(by, group) for group in groups]
    if pending:
        yield [_attainment(by, pending)]


async def find_days(db: Database, time_zone: str, day: int, most: int) -> list[Attainment]:
    """Return the bucket of one local date of up to so many factories of a time zone. Raises as Database.read."""
    sql = f"{_DAYS} FROM factories CROSS JOIN production_days {_OF_ZONE.format(zone='zone')} AND day = :day"
    return await db.read(_attainment_of_day, f"{sql} AND records > 0 LIMIT {most}", {"zone": time_zone, "day": day})


def _attainment(by: Bucketing, rows: Sequence[_Sums]) -> Attainment:
    """Return what the rows of one bucket come to."""
    name, factory_id, day, start, actual, goal, records, first, last = rows[0]
    if len(rows) > 1:
        actual, goal, records = (sum(map(itemgetter(place), rows)) for place in (4, 5, 6))
        first, last = min(row.first for row in rows), max(row.last for row in rows)
    if by == "total":
        texts = to_local_text(zone_of(name), first), to_local_text(zone_of(name), last)
    elif by == "hour":
        texts = texts_of_hour(name, start)
    else:
        texts = _texts[by, name, day]
    ratio = round(actual / goal, DECIMALS) if goal else None
    return Attainment(factory_id, *texts, actual, goal, actual - goal, ratio, records, _moments[first], _moments[last])


def _attainment_of_day(  # noqa: PLR0913, PLR0917 - a row of the roll-up
    name: str, factory_id: int, day: int, actual: int, goal: int, records: int, first: int, last: int
) -> Attainment:
    start, end = _texts["day", name, day]  # handed on with a star they would take a sixth longer
    ratio = round(actual / goal, DECIMALS) if goal else None
    return Attainment(
        factory_id, start, end, actual, goal, actual - goal, ratio, records, _moments[first], _moments[last]
    )


_moments = Remembered(to_datetime)
"""Days that are over are asked for again and again, and making these took half of the time for one."""

_texts: Remembered[tuple[By, str, int], tuple[str, str]] = Remembered(lambda place: texts_of_days(*place))


@lru_cache(maxsize=100_000)
def _hour(name: str, instant: int) -> int:
    return span_of_hour(zone_of(name), instant).start


_BUCKETS: Mapping[Bucketing, Callable[[_Sums], Hashable]] = {
    "hour": lambda row: (row.factory_id, _hour(row.time_zone, row.start)),
    "day": lambda row: (row.factory_id, row.day),
    "week": lambda row: (row.factory_id, first_day_of("week", row.day)),
    "month": lambda row: (row.factory_id, first_day_of("month", row.day)),
    "total": lambda row: row.factory_id,
}
"""What tells the bucket that a row belongs to from all others."""


_SUMS = "actual, goal, records, first, last"
_DAYS = f"SELECT time_zone, factory_id, day, {_SUMS}"
_DAY_ROWS = f"SELECT time_zone, factory_id, day, first AS start, {_SUMS}"
_SLOT_ROWS = f"SELECT time_zone, factory_id, day, start, {_SUMS}"

# SQLite keeps the order of a CROSS JOIN. All sums come in the order of their key; those of some dates are looked up
# factory by factory. Hours come by their start, which is another order where clocks go back over midnight.
_ALL = "CROSS JOIN factories WHERE factories.id = factory_id AND records > 0"
_OF_ZONE = "WHERE time_zone = :{zone} AND factory_id = factories.id"

_RECORDS = f"""
SELECT time_zone, factory_id, CAST(:{{edge}}_day AS bigint) AS day, CAST(:{{edge}}_start AS timestamptz) AS start,
       CAST(sum(sprocket_production_actual) AS bigint), CAST(sum(sprocket_production_goal) AS bigint), count(*),
       min(time), max(time)
FROM factories CROSS JOIN production {_OF_ZONE}
AND time >= :{{edge}}_since AND time < :{{edge}}_until{{{{wanted}}}} GROUP BY time_zone, factory_id"""


async def _select(
    db: Database, by: Bucketing, factory_ids: Collection[int] | None, bounds: Bounds
) -> tuple[str, dict[str, Value]]:
    """Return the statement for the sums within the bounds, and its parameters."""
    values: dict[str, Value] = {f"id_{place}": id_ for place, id_ in enumerate(sorted(factory_ids or ()))}
    chosen = f"IN ({', '.join(f'CAST(:{name} AS bigint)' for name in values)})"
    wanted, where = (f" AND factory_id {chosen}", f" WHERE id {chosen}") if values else ("", "")
    if bounds == EVER:
        if by == "hour":
            return f"{_SLOT_ROWS} FROM production_quarters {_ALL}{wanted} ORDER BY factory_id, start", values
        rows = _DAYS if by == "day" else _DAY_ROWS
        return f"{rows} FROM production_days {_ALL}{wanted} ORDER BY factory_id, day", values
    order = "start" if by == "hour" else "day, start"
    parts = []
    zones = await db.all(f"SELECT DISTINCT time_zone FROM factories{where}", **values)
    for number, (name,) in enumerate(zones):
        zone = f"zone_{number}"
        values[zone] = name
        parts += list(_parts(by, zone, zone_of(name), bounds, values))
    if not parts:
        return _NOTHING, {}
    return f"{' UNION ALL '.join(parts).format(wanted=wanted)} ORDER BY factory_id, {order}", values


_NOTHING = f"{_DAY_ROWS} FROM production_days CROSS JOIN factories WHERE false"


def _parts(by: Bucketing, name: str, zone: ZoneInfo, bounds: Bounds, values: dict[str, Value]) -> Iterator[str]:
    """Give the statements for the sums of one time zone's factories within the bounds, and add their parameters.

    `{wanted}` in them stands for the choice among those factories.
    """
    since, until = bounds
    of_zone = _OF_ZONE.format(zone=name)
    for number, cut in enumerate(_cut_slots(zone, bounds)):
        edge = f"{name}_{number}"
        values |= {
            f"{edge}_day": cut.day,
            f"{edge}_start": cut.start,
            f"{edge}_since": max(cut.start, bounds.since),
            f"{edge}_until": min(cut.until, bounds.until),
        }
        since, until = (cut.until, until) if cut.start < bounds.since else (since, cut.start)
        yield _RECORDS.format(edge=edge, zone=name)
    first, last = (1, 0) if by == "hour" else whole_days(zone, *bounds)
    values |= {f"{name}_since": since, f"{name}_until": until}
    # By themselves, so that nothing is read of the slots of whole days between them.
    edges = [(day_of(zone, since) - 1, day_of(zone, until) + 1)]
    if first <= last:
        edges = [(edges[0][0], first - 1), (last + 1, edges[0][1])]
        values |= {f"{name}_first": first, f"{name}_last": last}
        yield (
            f"{_DAY_ROWS} FROM factories CROSS JOIN production_days {of_zone}"
            f" AND day BETWEEN :{name}_first AND :{name}_last AND records > 0{{wanted}}"
        )
    if since < until:
        for number, (from_, to) in enumerate(edges):
            values |= {f"{name}_from_{number}": from_, f"{name}_to_{number}": to}
            yield (
                f"{_SLOT_ROWS} FROM factories CROSS JOIN production_quarters {of_zone}"
                f" AND day BETWEEN :{name}_from_{number} AND :{name}_to_{number}"
                f" AND start >= :{name}_since AND start < :{name}_until AND records > 0{{wanted}}"
            )


def _cut_slots(zone: ZoneInfo, bounds: Bounds) -> list[Slot]:
    """Return the slots that the bounds cut: none, one, or two."""
    lower, upper = slot_of(zone, bounds.since), slot_of(zone, bounds.until)
    cut = [lower] if lower.start < bounds.since else []
    return [*cut, upper] if upper.start < bounds.until and upper not in cut else cut
