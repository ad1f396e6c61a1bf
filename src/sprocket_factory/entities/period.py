"""Period: a day of one factory hour by hour, or a week or a month of it day by day, as a board shows them."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from sprocket_factory.database import Database
from sprocket_factory.entities.attainment import Attainment, Bounds
from sprocket_factory.entities.attainment_calendar import find_calendars
from sprocket_factory.entities.calendar import Span, day_of, first_day_of, last_day_of, span_of_days, zone_of
from sprocket_factory.entities.factory import Factory

Length = Literal["day", "week", "month"]

LENGTHS: tuple[Length, ...] = get_args(Length)

MOST_ROWS = 31
"""No month has more days, and no day more hours."""


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


def period_of(factory: Factory, length: Length, day: int) -> Period:
    """Return the day, ISO week or month of a factory that a local date lies in. The zone has left out none such."""
    first, last = first_day_of(length, day), last_day_of(length, day)
    return Period(length, first, last, span_of_days(zone_of(factory.time_zone), first, last))


def today_in(factory: Factory, instant: int) -> int:
    """Return the local date at a factory."""
    return day_of(zone_of(factory.time_zone), instant)


async def find_rows(db: Database, factory: Factory, period: Period) -> list[Row]:
    """Return the hours or days of a period. Raises Refusal, as Database.stream."""
    (buckets,) = await find_calendars(db, period.by, [factory], Bounds(*period.span), MOST_ROWS)
    rows = []
    actual = goal = 0
    for span, sums in buckets:
        if sums is not None:
            actual, goal = actual + sums.actual, goal + sums.goal
        rows.append(Row(span, sums, actual, goal))
    return rows


def total_of(rows: Sequence[Row]) -> Row | None:
    """Return where a period stands at its end; None where it has no record at all."""
    return rows[-1] if any(row.sums is not None for row in rows) else None
