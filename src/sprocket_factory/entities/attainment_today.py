"""Attainment today: how each factory stands on the day that it is there now."""

from collections.abc import Sequence
from typing import NamedTuple

from sprocket_factory.database import Database, Value
from sprocket_factory.entities.calendar import day_of, zone_of
from sprocket_factory.entities.factory import Factory

MAX_FACTORIES = 10_000

_FACTORIES = f"SELECT id, name, time_zone FROM factories ORDER BY id LIMIT {MAX_FACTORIES}"

_LAST = f"""
SELECT id, (SELECT max(time) FROM production WHERE factory_id = factories.id)
FROM factories ORDER BY id LIMIT {MAX_FACTORIES}
"""
_SUMS = f"""
SELECT factory_id, actual, goal
FROM factories CROSS JOIN production_days
WHERE time_zone = :time_zone AND factory_id = factories.id AND day = :day AND records > 0
LIMIT {MAX_FACTORIES}
"""


class Today(NamedTuple):
    """How a factory stands on the day that it is there now."""

    factory: Factory
    last: int | None
    """The instant of its last record, of whichever day."""
    actual: int | None
    goal: int | None
    """The sums of today; None where today has no record, which is something else than zero."""


class _Sums(NamedTuple):
    factory_id: int
    actual: int | None = None
    goal: int | None = None


class _Last(NamedTuple):
    factory_id: int
    instant: int | None


async def find_today(db: Database, instant: int) -> Sequence[Today]:
    """Return how each factory stands at this instant, in the order of their ids. Raises as Database.read.

    The sums are those that `/attainment?by=day` gives, a row for each factory.
    """
    factories = await db.read(Factory, _FACTORIES)
    last = dict(await db.read(_Last, _LAST, scans=True))
    sums: dict[int, _Sums] = {}
    for time_zone in sorted({factory.time_zone for factory in factories}):
        values: dict[str, Value] = {"time_zone": time_zone, "day": day_of(zone_of(time_zone), instant)}
        sums |= {one.factory_id: one for one in await db.read(_Sums, _SUMS, values)}
    nothing = _Sums(0)
    return [Today(factory, last.get(factory.id), *sums.get(factory.id, nothing)[1:]) for factory in factories]
