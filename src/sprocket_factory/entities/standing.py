"""Standing: how every factory stands now, for whoever looks at a board. Its numbers are those of `/attainment`."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Literal, NamedTuple

from sprocket_factory.database import Database
from sprocket_factory.entities.attainment import Attainment, Bounds, stream_attainment
from sprocket_factory.entities.attainment_calendar import Bucket
from sprocket_factory.entities.attainment_today import Today, find_today
from sprocket_factory.entities.calendar import Span, day_of, span_of_days, spans_between, to_local_text, zone_of

State = Literal["ahead", "even", "behind", "stale", "empty"]
"""Against today's goal so far; `stale` where the last record is too old to say, `empty` where today has none."""


class Standing(NamedTuple):
    """How a factory stands now."""

    today: Today
    state: State
    hours: Sequence[Bucket]
    """All hours of the day, those to come included."""
    this_hour: Bucket


async def find_standings(db: Database, instant: int, stale_after: int) -> list[Standing]:
    """Return how each factory stands at this instant, in the order of their ids.

    Args:
        db: Where to look.
        instant: Now.
        stale_after: How old the last record may be, in microseconds, before nobody knows how the factory stands.

    Raises:
        Refusal: As Database.read and Database.stream.
    """
    todays = await find_today(db, instant)
    spans = {name: _today_in(name, instant) for name in {today.factory.time_zone for today in todays}}
    if not spans:
        return []
    bounds = Bounds(min(spans.values()).start, max(span.until for span in spans.values()))
    async with aclosing(stream_attainment(db, "hour", None, bounds)) as chunks:
        sums = {(one.factory_id, one.start): one async for chunk in chunks for one in chunk}
    return [
        _standing(today, state_of(today, instant, stale_after), spans[today.factory.time_zone], sums, instant)
        for today in todays
    ]


def state_of(today: Today, instant: int, stale_after: int) -> State:
    """Return how a factory stands against the goal of its day so far."""
    if today.actual is None or today.goal is None:
        return "empty"
    if today.last is None or instant - today.last > stale_after:
        return "stale"
    if today.actual == today.goal:
        return "even"
    return "ahead" if today.actual > today.goal else "behind"


def _today_in(time_zone: str, instant: int) -> Span:
    zone = zone_of(time_zone)
    day = day_of(zone, instant)
    return span_of_days(zone, day, day)


def _standing(
    today: Today, state: State, span: Span, sums: Mapping[tuple[int, str], Attainment], instant: int
) -> Standing:
    factory = today.factory
    zone = zone_of(factory.time_zone)
    hours = [
        Bucket(hour, sums.get((factory.id, to_local_text(zone, hour.start))))
        for hour in spans_between(zone, "hour", *span)
    ]
    return Standing(today, state, hours, next(hour for hour in hours if instant < hour.span.until))
