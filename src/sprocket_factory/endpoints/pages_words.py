"""How pages write numbers and times."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sprocket_factory.entities.calendar import zone_of
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


def offset(instant: int, time_zone: str) -> str:
    """Return how far the clocks of a time zone are ahead of UTC at an instant, as +01:00."""
    return to_datetime(instant).astimezone(zone_of(time_zone)).isoformat()[-6:]


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
    "local": local,
    "moment": moment,
    "number": number,
    "offset": offset,
    "percent": percent,
    "signed": signed,
}
