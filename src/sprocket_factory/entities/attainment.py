"""Attainment: what was made of what was set out to be made, per hour, day, week, month or in all.

Sums come from the roll-ups (attainment_rollup.py), so that reading costs by the bucket and not by the record.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Annotated

from msgspec import Meta, Struct

from sprocket_factory.database import Database
from sprocket_factory.entities import Id
from sprocket_factory.entities.attainment_sums import (
    DAYS,
    EVER,
    OF_ZONE,
    Bounds,
    Bucketing,
    Sums,
    select_sums,
    stream_sums,
)
from sprocket_factory.entities.calendar import (
    By,
    first_day_of,
    span_of_hour,
    texts_of_days,
    texts_of_hour,
    to_local_text,
    zone_of,
)
from sprocket_factory.entities.instant import Time, to_datetime
from sprocket_factory.entities.listing import Kind
from sprocket_factory.entities.remembered import Remembered

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
    if by == "day" and bounds == EVER:  # each row is a bucket
        sql, values = await select_sums(db, by, factory_ids, bounds)
        async with aclosing(db.stream(_attainment_of_day, sql, values)) as days:
            async for day in days:
                yield day
        return
    bucket_of = _BUCKETS[by]
    pending: list[Sums] = []
    async with aclosing(stream_sums(db, by, factory_ids, bounds)) as chunks:
        async for chunk in chunks:
            groups = [list(group) for _, group in groupby(pending + chunk, bucket_of)]
            pending = groups.pop() if groups else []  # it may go on in the next chunk
            if groups:
                yield [_attainment(by, group) for group in groups]
    if pending:
        yield [_attainment(by, pending)]


async def find_days(db: Database, time_zone: str, day: int, most: int) -> list[Attainment]:
    """Return the bucket of one local date of up to so many factories of a time zone. Raises as Database.read."""
    sql = f"{DAYS} FROM factories CROSS JOIN production_days {OF_ZONE.format(zone='zone')} AND day = :day"
    return await db.read(_attainment_of_day, f"{sql} AND records > 0 LIMIT {most}", {"zone": time_zone, "day": day})


def _attainment(by: Bucketing, rows: Sequence[Sums]) -> Attainment:
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


_BUCKETS: Mapping[Bucketing, Callable[[Sums], Hashable]] = {
    "hour": lambda row: (row.factory_id, _hour(row.time_zone, row.start)),
    "day": lambda row: (row.factory_id, row.day),
    "week": lambda row: (row.factory_id, first_day_of("week", row.day)),
    "month": lambda row: (row.factory_id, first_day_of("month", row.day)),
    "total": lambda row: row.factory_id,
}
"""What tells the bucket that a row belongs to from all others."""
