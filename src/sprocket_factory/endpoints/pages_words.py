"""How pages write numbers and times."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sprocket_factory.entities.calendar import Span, offset_text, zone_of
from sprocket_factory.entities.instant import DAY, MINUTE, from_datetime, to_datetime, to_text

HOUR = 60 * MINUTE

NOTHING = "–"


def number(value: int | None) -> str:
    """Return a whole number with its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def signed(value: int | None) -> str:
    """Return a difference, which has a sign unless it is none."""
    if value is None:
        return NOTHING
    return f"{value:+,}".replace("-", "−") if value else "±0"


def percent(actual: int, goal: int) -> str:
    """Return the attainment as per cent; nothing where there is no goal."""
    return f"{actual * 100 / goal:.1f} %" if goal else NOTHING


def deviation(value: float) -> str:
    """Return a deviation as per cent, with its sign."""
    return f"{value * 100:+.3g} %".replace("-", "−") if value else "±0 %"


def local(instant: int | datetime, time_zone: str, format_: str = "%H:%M") -> str:
    """Return an instant as the clocks of a time zone show it."""
    moment = to_datetime(instant) if isinstance(instant, int) else instant
    return moment.astimezone(zone_of(time_zone)).strftime(format_)


def hour(span: Span, time_zone: str) -> str:
    """Return an hour as 01:00–02:00, its end by the clocks as they were at its start, though they are changed there."""
    start = to_datetime(span.start).astimezone(zone_of(time_zone))
    # Within one zone datetime adds by the clock on the wall, which knows of no change.
    until = start + timedelta(microseconds=span.until - span.start)
    return f"{start:%H:%M}–{until:%H:%M}"


def offset(instant: int | datetime, time_zone: str) -> str:
    """Return how far the clocks of a time zone are ahead of UTC at an instant, as +01:00."""
    return offset_text(zone_of(time_zone), instant if isinstance(instant, int) else from_datetime(instant))


def moment(instant: int | datetime) -> str:
    """Return an instant in RFC 3339, for programs."""
    return to_text(instant if isinstance(instant, int) else from_datetime(instant))


def ago(instant: int, now: int) -> str:
    """Return how long ago an instant was."""
    age = now - instant
    if age < -MINUTE:
        return "ahead of the clock"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if age >= unit:
            return f"{age // unit} {name} ago"
    return "just now"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "ago": ago,
    "deviation": deviation,
    "hour": hour,
    "local": local,
    "moment": moment,
    "number": number,
    "offset": offset,
    "percent": percent,
    "signed": signed,
}
