"""Attainment today: how each factory stands on the day that it is there now."""

from collections.abc import Sequence
from typing import NamedTuple

from sprocket_factory.database import Database, Reader
from sprocket_factory.entities.attainment import Attainment, find_days
from sprocket_factory.entities.calendar import day_of, zone_of
from sprocket_factory.entities.factory import Factory
from sprocket_factory.entities.instant import MINUTE

MAX_FACTORIES = 10_000

MAX_SKEW = MINUTE
"""So far a machine's clock may be ahead of ours; its records are of now all the same."""

_FACTORIES = f"SELECT id, name, time_zone FROM factories ORDER BY id LIMIT {MAX_FACTORIES}"

_LAST = f"""
SELECT id, (SELECT max(time) FROM production WHERE factory_id = factories.id AND time <= :until)
FROM factories ORDER BY id LIMIT {MAX_FACTORIES}
"""


class Today(NamedTuple):
    """How a factory stands on the day that it is there now."""

    factory: Factory
    last: int | None
    """The instant of its last record up to now, of whichever day. One that lies ahead says nothing of now."""
    actual: int | None
    goal: int | None
    """The sums of today; None where today has no record, which is something else than zero."""


class _Last(NamedTuple):
    factory_id: int
    instant: int | None


async def find_last(db: Reader, factory_id: int, instant: int) -> int | None:
    """Return the instant of a factory's last record up to now; None where it has none."""
    sql = "SELECT max(time) FROM production WHERE factory_id = :factory_id AND time <= :until"
    row = await db.one(sql, factory_id=factory_id, until=instant + MAX_SKEW)
    return None if row is None else row[0]


async def find_today(db: Database, instant: int) -> Sequence[Today]:
    """Return how each factory stands at this instant, in the order of their ids. Raises as Database.read.

    The sums are those that `/attainment?by=day` gives.
    """
    factories = await db.read(Factory, _FACTORIES)
    last = dict(await db.read(_Last, _LAST, {"until": instant + MAX_SKEW}, scans=True))
    sums: dict[int, Attainment] = {}
    for time_zone in sorted({factory.time_zone for factory in factories}):
        day = day_of(zone_of(time_zone), instant)
        sums |= {one.factory_id: one for one in await find_days(db, time_zone, day, MAX_FACTORIES)}
    return [_today(factory, last.get(factory.id), sums.get(factory.id)) for factory in factories]


def _today(factory: Factory, last: int | None, sums: Attainment | None) -> Today:
    return Today(factory, last, None, None) if sums is None else Today(factory, last, sums.actual, sums.goal)
