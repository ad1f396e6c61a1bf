"""Local time: where the hours, days, weeks and months of a time zone begin and end.

Time zones are those of the pinned tzdata, the same on every machine. A day is the number of a local date, in days
since 1970-01-01. Since 1980 every zone's offset is a multiple of 15 minutes, but clocks are not always changed on one:
at St. John's they went back at one minute past midnight, into the day before. So a quarter-hour of UTC is cut into
slots, of which each has one offset; nearly always that is the quarter-hour itself.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from sprocket_factory.entities.instant import DAY, MINUTE, SECOND, to_datetime

By = Literal["hour", "day", "week", "month"]
"""What a calendar cuts time into."""

QUARTER = 15 * MINUTE
HOUR = 60 * MINUTE

WIDEST_OFFSET = 15 * HOUR
"""No zone is so far from UTC."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAYS_A_WEEK = 7


class Slot(NamedTuple):
    """A longest run of instants within one quarter-hour of UTC that have one offset."""

    day: int
    start: int
    until: int
    """The first instant that is not in it any more."""


class Span(NamedTuple):
    """From an instant up to, not including, another."""

    start: int
    until: int


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return the zone of this name in the pinned tzdata, whatever the machine has. The name is a known one."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def tzdata_version() -> str:
    """Return the version of the pinned tzdata: with another one days may begin elsewhere."""
    return files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text(encoding="utf-8").partition("\n")[0]


def date_of(day: int) -> date:
    """Return a local date as a date."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def number_of(local_date: date) -> int:
    """Return a date as the number of a local date."""
    return local_date.toordinal() - _EPOCH_ORDINAL


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """Return how far the zone's clocks are ahead of UTC, in microseconds."""
    offset = to_datetime(instant).astimezone(zone).utcoffset() or timedelta()
    return round(offset.total_seconds()) * SECOND


def day_of(zone: ZoneInfo, instant: int) -> int:
    """Return the local date."""
    return (instant + offset_at(zone, instant)) // DAY


def quarter_of(instant: int) -> int:
    """Return where the quarter-hour of UTC begins that an instant lies in."""
    return instant - instant % QUARTER


def slots_of(zone: ZoneInfo, quarter: int) -> list[Slot]:
    """Return the slots of the quarter-hour of UTC that begins here: one, or two where clocks are changed within."""
    return [
        Slot((start + offset) // DAY, start, until) for start, until, offset in _runs(zone, quarter, quarter + QUARTER)
    ]


def quarter_slots(zone: ZoneInfo, quarter: int) -> Sequence[tuple[int, int, int]]:
    """Return as plain tuples what slots_of does, in a fraction of the time where clocks are left alone that day."""
    offset = _offset_all_day(zone, quarter // DAY)
    if offset is None:
        return slots_of(zone, quarter)
    return (((quarter + offset) // DAY, quarter, quarter + QUARTER),)


def slot_of(zone: ZoneInfo, instant: int) -> Slot:
    """Return the slot that an instant lies in."""
    return next(Slot(*slot) for slot in quarter_slots(zone, quarter_of(instant)) if instant < slot[2])


@lru_cache(maxsize=100_000)
def span_of_day(zone: ZoneInfo, day: int) -> Span | None:
    """Return from where to where there are instants of this local date; None where a zone left it out.

    Where clocks go back over midnight two dates take turns, and their spans overlap.
    """
    midnight = day * DAY
    first, *others = (
        offset_at(zone, midnight + hours)
        for hours in (-WIDEST_OFFSET - DAY, -WIDEST_OFFSET, 0, DAY, DAY + WIDEST_OFFSET, 2 * DAY + WIDEST_OFFSET)
    )
    if {first} == {*others}:
        return Span(midnight - first, midnight + DAY - first)
    parts = [
        (max(start, midnight - offset), min(until, midnight + DAY - offset))
        for start, until, offset in _runs(zone, midnight - WIDEST_OFFSET, midnight + DAY + WIDEST_OFFSET)
    ]
    parts = [(start, until) for start, until in parts if start < until]
    return Span(min(parts)[0], max(until for _, until in parts)) if parts else None


def span_of_hour(zone: ZoneInfo, instant: int) -> Span:
    """Return the run of instants around this one that have one local date, one local hour and one offset."""
    offset = offset_at(zone, instant)
    start = (instant + offset) // HOUR * HOUR - offset
    return next(Span(start, until) for start, until, _ in _runs(zone, start, start + HOUR) if start <= instant < until)


def offsets_of(zone: ZoneInfo, span: Span) -> list[tuple[Span, str]]:
    """Return the runs of one offset within a span, in their order, and each offset as RFC 3339 writes it: +01:00."""
    return [(Span(start, until), offset_text(zone, start)) for start, until, _ in _runs(zone, *span)]


def offset_text(zone: ZoneInfo, instant: int) -> str:
    """Return how far the zone's clocks are ahead of UTC, as RFC 3339 writes it: +01:00."""
    return to_datetime(instant).astimezone(zone).isoformat()[-6:]


def first_day_of(by: By, day: int) -> int:
    """Return the first local date of the day, ISO week or month that a date lies in."""
    if by == "week":
        return day - date_of(day).weekday()
    if by == "month":
        return day - date_of(day).day + 1
    return day


def last_day_of(by: By, day: int) -> int:
    """Return the last local date of the day, ISO week or month that a date lies in."""
    if by == "week":
        return first_day_of("week", day) + _DAYS_A_WEEK - 1
    if by == "month":
        return first_day_of("month", first_day_of("month", day) + 31) - 1
    return day


@lru_cache(maxsize=100_000)
def span_of_days(zone: ZoneInfo, first: int, last: int) -> Span:
    """Return from where to where there are instants of these local dates, of which at least one exists."""
    spans = [span for day in range(first, last + 1) if (span := span_of_day(zone, day))]
    return Span(min(spans)[0], max(span.until for span in spans))


def spans_between(zone: ZoneInfo, by: By, since: int, until: int) -> Iterator[Span]:
    """Give every hour, day, week or month that has an instant from `since` up to, not including, `until`, in order."""
    if by == "hour":
        while since < until:
            span = span_of_hour(zone, since)
            yield span
            since = span.until
        return
    # Where clocks go back over midnight, the date before this one or behind it has instants here as well.
    day, last = first_day_of(by, day_of(zone, since) - 1), day_of(zone, until) + 1
    while day <= last:
        if any(span_of_day(zone, one) for one in range(day, last_day_of(by, day) + 1)):
            span = span_of_days(zone, day, last_day_of(by, day))
            if span.start < until and since < span.until:
                yield span
        day = last_day_of(by, day) + 1


def whole_days(zone: ZoneInfo, since: int, until: int) -> tuple[int, int]:
    """Return the first and the last local date of which every instant lies within; the last is less where none does."""
    first = day_of(zone, since) - 1
    while (span := span_of_day(zone, first)) is None or span.start < since:
        first += 1
    last = day_of(zone, until) + 1
    while last >= first and ((span := span_of_day(zone, last)) is None or span.until > until):
        last -= 1
    return first, last


def to_local_text(zone: ZoneInfo, instant: int) -> str:
    """Return the instant in RFC 3339 with the zone's offset at that moment, `Z` where that is none."""
    return to_datetime(instant).astimezone(zone).isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=100_000)
def texts_of_hour(name: str, instant: int) -> tuple[str, str]:
    """Return where the hour around an instant begins and ends in the zone of this name, as local texts."""
    zone = zone_of(name)
    start, until = span_of_hour(zone, instant)
    return to_local_text(zone, start), to_local_text(zone, until)


def texts_of_days(by: By, name: str, day: int) -> tuple[str, str]:
    """Return where what a local date lies in begins and ends in the zone of this name, as local texts."""
    zone = zone_of(name)
    start, until = span_of_days(zone, first_day_of(by, day), last_day_of(by, day))
    return to_local_text(zone, start), to_local_text(zone, until)


@lru_cache(maxsize=100_000)
def _offset_all_day(zone: ZoneInfo, day: int) -> int | None:
    """Return the one offset that there is in a day of UTC; None where clocks are changed.

    Nowhere are they changed and changed back within six hours.
    """
    first, *others = {offset_at(zone, day * DAY + hours * HOUR) for hours in (0, 6, 12, 18, 24)}
    return None if others else first


def _runs(zone: ZoneInfo, start: int, until: int) -> Iterator[tuple[int, int, int]]:
    """Give the runs of one offset from one instant to another: where each begins and ends, and its offset.

    Clocks are not changed twice within a quarter-hour.
    """
    begun, offset = start, offset_at(zone, start)
    for place in range(start, until, QUARTER):
        end = min(place + QUARTER, until)
        after = offset_at(zone, end - 1)
        if after != offset:
            change = _change(zone, place, end, offset)
            yield begun, change, offset
            begun, offset = change, after
    yield begun, until, offset


def _change(zone: ZoneInfo, start: int, until: int, offset: int) -> int:
    """Return the first instant, a whole second, whose offset is not this one any more."""
    before, behind = start // SECOND - 1, -(-until // SECOND)
    while behind - before > 1:
        middle = (before + behind) // 2
        if offset_at(zone, middle * SECOND) == offset:
            before = middle
        else:
            behind = middle
    return behind * SECOND
