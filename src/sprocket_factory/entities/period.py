"""Period: a day of one factory hour by hour, or a week or a month of it day by day, as a board shows them."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from sprocket_factory.database import Database
from sprocket_factory.entities.attainment import Attainment
from sprocket_factory.entities.attainment_calendar import find_calendars
from sprocket_factory.entities.attainment_sums import Bounds
from sprocket_factory.entities.calendar import (
    Span,
    date_of,
    day_of,
    first_day_of,
    last_day_of,
    span_of_day,
    span_of_days,
    zone_of,
)
from sprocket_factory.entities.factory import Factory
from sprocket_factory.errors import NotFound

Length = Literal["day", "week", "month"]

LENGTHS: tuple[Length, ...] = get_args(Length)

MOST_ROWS = 40
"""No month has so many days, with those of its neighbours that take turns with its own, and no day so many hours."""


class Period(NamedTuple):
    """Some local dates of a factory."""

    length: Length
    first: int
    last: int
    span: Span

    @property
    def by(self) -> Literal["hour", "day"]:
        """What one row of it is."""
        return "hour" if self.length == "day" else "day"


class Row(NamedTuple):
    """One hour or day of a period, and how far the period had come by its end."""

    span: Span
    sums: Attainment | None
    """None where it has no record, which is something else than zero."""
    actual: int
    goal: int
    has_begun: bool
    """Whether there is any record so far."""


def period_of(factory: Factory, length: Length, day: int) -> Period:
    """Return the day, ISO week or month of a factory that a local date lies in.

    Raises:
        NotFound: Its time zone has left this date out, as Samoa did with the 30th of December 2011.
    """
    first, last = first_day_of(length, day), last_day_of(length, day)
    if not any(span_of_day(zone_of(factory.time_zone), one) for one in range(first, last + 1)):
        raise NotFound(f"There was no {date_of(first)} in {factory.time_zone}.", hint="The calendar skipped it.")
    return Period(length, first, last, span_of_days(zone_of(factory.time_zone), first, last))


def today_in(factory: Factory, instant: int) -> int:
    """Return the local date at a factory."""
    return day_of(zone_of(factory.time_zone), instant)


async def find_rows(db: Database, factory: Factory, period: Period) -> list[Row]:
    """Return the hours or days of a period. Raises Refusal, as Database.stream."""
    (buckets,) = await find_calendars(db, period.by, [factory], Bounds(*period.span), MOST_ROWS)
    rows = []
    actual = goal = 0
    has_begun = False
    zone = zone_of(factory.time_zone)
    for span, sums in buckets:
        # Where clocks went back over midnight, the span of a date holds some of the date before or behind it.
        if not period.first <= day_of(zone, span.start) <= period.last:
            continue
        if sums is not None:
            actual, goal, has_begun = actual + sums.actual, goal + sums.goal, True
        rows.append(Row(span, sums, actual, goal, has_begun))
    return rows


def total_of(rows: Sequence[Row]) -> Row | None:
    """Return where a period stands at its end; None where it has no record at all."""
    return rows[-1] if rows and rows[-1].has_begun else None
