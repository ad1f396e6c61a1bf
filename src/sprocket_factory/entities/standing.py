"""Standing: how every factory stands now, for whoever looks at a board. Its numbers are those of `/attainment`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Literal, NamedTuple

from sprocket_factory.database import Database
from sprocket_factory.entities.attainment import Attainment, stream_attainment
from sprocket_factory.entities.attainment_calendar import Bucket
from sprocket_factory.entities.attainment_sums import Bounds
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


class Standings(NamedTuple):
    """How factories stand."""

    counts: Mapping[State, int]
    """Of all factories."""
    shown: Sequence[Standing]
    """Of some of them."""
    is_last: bool
    """Whether there are no more behind those."""


class _Day(NamedTuple):
    """The day that it is in a time zone now."""

    span: Span
    hours: Sequence[tuple[Span, str]]
    """Each with the text that attainment has for its start."""
    hour: int
    """Which of them it is now."""


async def find_standings(db: Database, instant: int, stale_after: int, after: int, most: int) -> Standings:
    """Return how factories stand at this instant, in the order of their ids.

    Args:
        db: Where to look.
        instant: Now.
        stale_after: How old the last record may be, in microseconds, before nobody knows how the factory stands; 0 for
            as old as it likes.
        after: Behind the factory with this id, `most` are shown.
        most: So many.

    Raises:
        Refusal: As Database.read and Database.stream.
    """
    todays = await find_today(db, instant)
    states = {today.factory.id: state_of(today, instant, stale_after) for today in todays}
    behind = [today for today in todays if today.factory.id > after]
    shown = behind[:most]
    days = {name: _day_in(name, instant) for name in {today.factory.time_zone for today in shown}}
    sums: dict[tuple[int, str], Attainment] = {}
    if shown:
        bounds = Bounds(min(day.span for day in days.values()).start, max(day.span.until for day in days.values()))
        factory_ids = [today.factory.id for today in shown]
        async with aclosing(stream_attainment(db, "hour", factory_ids, bounds)) as chunks:
            sums = {(one.factory_id, one.start): one async for chunk in chunks for one in chunk}
    standings = [_standing(today, states[today.factory.id], days[today.factory.time_zone], sums) for today in shown]
    return Standings(Counter(states.values()), standings, is_last=len(behind) <= most)


def state_of(today: Today, instant: int, stale_after: int) -> State:
    """Return how a factory stands against the goal of its day so far."""
    if today.actual is None or today.goal is None:
        return "empty"
    if is_stale(today.last, instant, stale_after):
        return "stale"
    if today.actual == today.goal:
        return "even"
    return "ahead" if today.actual > today.goal else "behind"


def is_stale(last: int | None, instant: int, stale_after: int) -> bool:
    """Return whether the last record is too old to say how a factory stands. After 0 none ever is."""
    return last is None or (stale_after > 0 and instant - last > stale_after)


def _day_in(time_zone: str, instant: int) -> _Day:
    zone = zone_of(time_zone)
    day = day_of(zone, instant)
    span = span_of_days(zone, day, day)
    hours = [(hour, to_local_text(zone, hour.start)) for hour in spans_between(zone, "hour", *span)]
    return _Day(span, hours, next(place for place, (hour, _) in enumerate(hours) if instant < hour.until))


def _standing(today: Today, state: State, day: _Day, sums: Mapping[tuple[int, str], Attainment]) -> Standing:
    hours = [Bucket(span, sums.get((today.factory.id, start))) for span, start in day.hours]
    return Standing(today, state, hours, hours[day.hour])
