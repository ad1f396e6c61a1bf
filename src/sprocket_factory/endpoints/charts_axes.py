"""What is written on a chart of attainment: round numbers up, local time along, and sums in words."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import count, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sprocket_factory.endpoints.pages_words import percent
from sprocket_factory.entities.attainment_sums import Bucketing
from sprocket_factory.entities.calendar import Span
from sprocket_factory.entities.instant import to_datetime

MAX_STEPS = 5

HOURS_APART = (1, 2, 3, 6, 12, 24)
"""Which hours of the day have a label, if not all."""

MAX_NAMED_DAYS = 12
"""Up to so many days have the name of their weekday beside their number."""

WIDTHS = {"hour": 28, "day": 28, "named day": 66, "week": 52, "month": 46, "group": 116}
"""What labels take, in the units of the picture."""

UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


class Tick(NamedTuple):
    """A round number on the upright axis."""

    value: int
    text: str


class Label(NamedTuple):
    """What stands under a bucket."""

    x: float
    text: str
    is_minor: bool = False
    """Whether it gives way on a narrow screen."""


def ticks_to(most: int) -> list[Tick]:
    """Return whole round numbers (1, 2 or 5 with zeros apart) from 0 to the first that is not below `most`, nor 0."""
    apart = next(digit * 10**zeros for zeros in count() for digit in (1, 2, 5) if digit * 10**zeros * MAX_STEPS >= most)
    return [Tick(value, _short(value)) for value in range(0, max(most, 1) + apart, apart)]


def labels_of(by: Bucketing, zone: ZoneInfo, spans: Sequence[Span], xs: Sequence[float]) -> list[Label]:
    """Return the labels of the buckets in the middle of these places, as many as there is room for."""
    if by == "total":
        return []
    room = xs[1] - xs[0] if len(xs) > 1 else WIDTHS["group"]
    is_named = by == "day" and len(spans) <= MAX_NAMED_DAYS
    apart = int(-(-WIDTHS["named day" if is_named else by] // room)) or 1
    if by == "hour":
        apart = next((hours for hours in HOURS_APART if hours >= apart), HOURS_APART[-1])
    labels = []
    for place, (span, x) in enumerate(zip(spans, xs, strict=True)):
        start = _local(zone, span.start)
        number = start.hour if by == "hour" else place
        if number % apart == 0:
            labels.append(Label(x, _short_name(by, start, is_named=is_named), is_minor=number % (2 * apart) != 0))
    return labels


def groups_of(by: Bucketing, zone: ZoneInfo, spans: Sequence[Span], xs: Sequence[float], right: float) -> list[Label]:
    """Return where the date of hours, the month of days, the year of others begins, where there is room for it."""
    names = [_group(by, _local(zone, span.start)) for span in spans]
    begins = [0, *(place for place, (before, name) in enumerate(pairwise(names), 1) if before != name)]
    if len(begins) > 1 and xs[begins[1]] - xs[0] < WIDTHS["group"]:
        del begins[0]  # it is the shorter part of what there is to see
    labels: list[Label] = []
    for place in begins:
        if not labels or labels[-1].x + WIDTHS["group"] <= xs[place] <= right - WIDTHS["group"]:
            labels.append(Label(xs[place], names[place]))
    return labels


def name_of(by: Bucketing, zone: ZoneInfo, span: Span) -> str:
    """Return what a bucket is called where it stands alone."""
    start = _local(zone, span.start)
    match by:
        case "hour":
            return f"{_date(start)} {start:%H:%M}"
        case "day":
            return f"{start:%a} {_date(start)}"
        case "week":
            return f"{_short_name('week', start)} {_group('week', start)}"
        case "month":
            return f"{start:%B %Y}"
        case "total":
            return range_of(zone, [span])


def range_of(zone: ZoneInfo, spans: Sequence[Span]) -> str:
    """Return from which local date to which the buckets go."""
    first, last = _local(zone, spans[0].start), _local(zone, max(spans[-1].until - 1, spans[-1].start))
    return _date(first) if first.date() == last.date() else f"{_date(first)} to {_date(last)}"


def in_words(actual: int, goal: int) -> str:
    """Return what was made of a goal, and how far apart the two are."""
    difference = actual - goal
    standing = f"{abs(difference):,} {'ahead' if difference > 0 else 'behind'}" if difference else "as planned"
    part = f" ({percent(actual, goal)})" if goal else ""
    return f"{actual:,} of {goal:,}{part}, {standing}"


def listed(parts: Iterable[str]) -> str:
    """Return the parts as sentences."""
    return " ".join(f"{part}." for part in parts)


def _local(zone: ZoneInfo, instant: int) -> datetime:
    return to_datetime(instant).astimezone(zone)


def _date(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y}"


def _short_name(by: Bucketing, start: datetime, *, is_named: bool = False) -> str:
    match by:
        case "hour":
            return f"{start:%H}"
        case "day":
            return f"{start:%a} {start.day}" if is_named else str(start.day)
        case "week":
            return f"W{start.isocalendar().week:02}"
        case "month":
            return f"{start:%b}"
        case "total":
            return ""


def _group(by: Bucketing, start: datetime) -> str:
    match by:
        case "hour":
            return f"{start:%a} {start.day} {start:%b}"
        case "day":
            return f"{start:%b %Y}"
        case "week":
            return str(start.isocalendar().year)
        case "month":
            return f"{start:%Y}"
        case "total":
            return ""


def _short(value: int) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if value >= size), (1, ""))
    return f"{value / size:g}{unit}"
