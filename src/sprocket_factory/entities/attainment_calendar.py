"""Attainment on the calendar: every bucket that there is, also those in which nothing is recorded."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from typing import NamedTuple

from sprocket_factory.database import Database
from sprocket_factory.entities.attainment import Attainment, stream_attainment
from sprocket_factory.entities.attainment_sums import EVER, Bounds, Bucketing
from sprocket_factory.entities.calendar import Span, spans_between, to_local_text, zone_of
from sprocket_factory.entities.factory import Factory
from sprocket_factory.entities.instant import from_datetime


class Bucket(NamedTuple):
    """One bucket of the calendar."""

    span: Span
    sums: Attainment | None
    """What its records come to; None where it has none."""


async def find_calendars(
    db: Database, by: Bucketing, factories: Sequence[Factory], bounds: Bounds, most: int
) -> list[list[Bucket]]:
    """Return the buckets of each factory from one bound to the other.

    Where there is no bound they begin with the first that holds records, and end with the last.

    Args:
        db: Where the records are.
        by: What one bucket is.
        factories: Whose.
        bounds: Only records within count.
        most: Of who has more, `most` + 1 are returned, and of the others perhaps none.

    Raises:
        Refusal: As Database.stream.
    """
    held: dict[int, list[Attainment]] = {factory.id: [] for factory in factories}
    async with aclosing(stream_attainment(db, by, held, bounds)) as chunks:
        async for chunk in chunks:
            for one in chunk:
                held[one.factory_id].append(one)
            if max(map(len, held.values())) > most:
                break
    return [list(islice(_calendar(by, factory.time_zone, held[factory.id], bounds), most + 1)) for factory in factories]


def _calendar(by: Bucketing, time_zone: str, held: Sequence[Attainment], bounds: Bounds) -> Iterator[Bucket]:
    if by == "total":
        yield from (Bucket(Span(from_datetime(one.first), from_datetime(one.last)), one) for one in held)
        return
    if not held and (bounds.since == EVER.since or bounds.until == EVER.until):
        return
    zone = zone_of(time_zone)
    by_start = {one.start: one for one in held}
    since = bounds.since if bounds.since != EVER.since else from_datetime(held[0].first)
    until = bounds.until if bounds.until != EVER.until else from_datetime(held[-1].last) + 1
    for span in spans_between(zone, by, since, until):
        yield Bucket(span, by_start.get(to_local_text(zone, span.start)))
