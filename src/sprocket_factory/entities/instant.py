"""Instants: below the HTTP edge a moment is a whole number of microseconds since 1970-01-01T00:00:00Z.

A whole number is exact, sorts and subtracts without surprises, and is the same on every database engine.
"""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast

from msgspec import Meta

from sprocket_factory.entities.remembered import Remembered
from sprocket_factory.errors import Invalid, shown

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND

EARLIEST = 315_532_800 * SECOND
"""1980-01-01T00:00:00Z: no production record is older, and a smaller number is more likely a slip of units."""

LATEST = 253_402_300_799 * SECOND
"""9999-12-31T23:59:59Z: the calendar ends there."""

Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]

TimeText = Annotated[str, Meta(description="RFC 3339 with an offset.", extra_json_schema={"format": "date-time"})]
Seconds = Annotated[
    int | float,
    Meta(description="Seconds since 1970, with up to six decimals.", extra_json_schema={"minimum": EARLIEST // SECOND}),
]
AnyTime = TimeText | Seconds
"""A time as it comes in: text, or a number of seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:([0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?",
    re.ASCII,
)
_SECONDS = re.compile(r"(-?)(0|[1-9][0-9]{0,24})(?:\.([0-9]{1,24}))?", re.ASCII)
# Far outside the calendar, and within what a double holds to the microsecond.
_MAX_SECONDS = 10**12
_LEAP_SECOND = "60"
_MAX_DECIMALS = 6
_HOUR = len("2021-01-21T02")
_MAX_REMEMBERED = 10_000


def now() -> int:
    """Return the present instant by this machine's clock."""
    return time.time_ns() // 1000


def to_datetime(instant: int) -> datetime:
    """Return the instant as an aware datetime in UTC."""
    return _EPOCH + instant * _MICROSECOND  # a timedelta that is made of the instant takes two thirds longer


def from_datetime(moment: datetime) -> int:
    """Return the instant of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def to_text(instant: int) -> str:
    """Return the instant in RFC 3339, in UTC with `Z`, with microseconds only where it has them."""
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


def read_instant(value: str | float, latest: int) -> int:
    """Return the instant that an outside value names.

    Args:
        value: RFC 3339 text with an offset, or seconds since 1970 as a number or as text of one.
        latest: The last instant that is allowed; usually a day after now.

    Raises:
        Invalid: No zone, more than six decimals, a leap second, not a time at all, or outside 1980 to `latest`.
    """
    instant = _from_text(value) if isinstance(value, str) else _from_seconds(value)
    if not EARLIEST <= instant <= latest:
        raise Invalid(
            f"The time {_shown(value)} is outside {to_text(EARLIEST)} to {to_text(latest)}.", hint=_hint(value)
        )
    return instant


class InstantReader:
    """Reads instants as read_instant does, and many at once in a fraction of the time.

    Of times that follow one another most share their hour, and what stands behind the hour comes again each hour. So
    both are looked up where they were met before.
    """

    def __init__(self, latest: int) -> None:
        self._latest = latest
        self._hours = Remembered(_hour, _MAX_REMEMBERED)
        self._rests = Remembered(_rest, _MAX_REMEMBERED)

    def read(self, value: str | float) -> int:
        """Return the instant that an outside value names. Raises Invalid as read_instant."""
        return read_instant(value, self._latest)

    def read_all(self, values: Sequence[str | float]) -> list[int]:
        """Return the instants that outside values name. Raises Invalid as read_instant."""
        hours, rests = self._hours, self._rests
        try:
            instants = [hours[text[:_HOUR]] + rests[text[_HOUR:]] for text in cast("Sequence[str]", values)]
            if EARLIEST <= min(instants) <= max(instants) <= self._latest:
                return instants
        except (TypeError, ValueError, Invalid):
            pass  # there are none, some are numbers, or one is nothing at all
        return [read_instant(value, self._latest) for value in values]


def _hour(text: str) -> int:
    """Return the instant at which an hour begins, written as `2021-01-21T02`. Raises Invalid."""
    if text.endswith("24"):  # the calendar may take it for midnight, but only if nothing but zeros follow
        raise Invalid("There is no hour 24.")
    return _from_text(f"{text}:00:00Z")


def _rest(text: str) -> int:
    """Return how long after its hour begins what is written as `:06:58Z` or `:06:58.25+01:00`. Raises Invalid."""
    return _from_text(f"1980-01-01T00{text}") - EARLIEST


def _from_text(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        if seconds := _SECONDS.fullmatch(text):
            return _from_decimal(text, *seconds.groups(default=""))
        raise Invalid(
            f"{_shown(text)} is not a time.",
            hint="Write RFC 3339 with an offset, as 2021-01-21T02:06:58Z, or seconds since 1970.",
        )
    second, decimals, offset = match.groups()
    if offset is None:
        raise Invalid(f"The time {_shown(text)} has no zone.", hint="Add Z for UTC or an offset such as +01:00.")
    if second == _LEAP_SECOND:
        raise Invalid(f"The time {_shown(text)} is a leap second.", hint="Send the second before it or after it.")
    if decimals is not None and len(decimals) > _MAX_DECIMALS:
        raise _too_fine(text)
    try:
        return from_datetime(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise Invalid(f"{_shown(text)} is no date and time of the calendar.", hint="Check each part.") from None


def _from_decimal(text: str, sign: str, whole: str, decimals: str) -> int:
    if len(decimals) > _MAX_DECIMALS:
        raise _too_fine(text)
    instant = int(whole) * SECOND + int(decimals.ljust(_MAX_DECIMALS, "0"))
    return -instant if sign else instant


def _from_seconds(seconds: float) -> int:
    if not -_MAX_SECONDS < seconds < _MAX_SECONDS:  # NaN as well
        raise Invalid(f"The time {_shown(seconds)} is outside the calendar.", hint=_hint(seconds))
    if isinstance(seconds, int):
        return seconds * SECOND
    instant = round(seconds * SECOND)
    if instant / SECOND != seconds:
        raise _too_fine(seconds)
    return instant


def _too_fine(value: str | float) -> Invalid:
    return Invalid(f"The time {_shown(value)} has more than six decimals.", hint="Round it to microseconds.")


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return shown(value)
    return str(value) if abs(value) < 10**30 else "of so many digits"


def _hint(value: str | float) -> str:
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return ""
    in_milliseconds = EARLIEST <= seconds * 1000 <= now() + DAY
    return "It looks like milliseconds: send seconds." if in_milliseconds else "Numbers are seconds since 1970."
