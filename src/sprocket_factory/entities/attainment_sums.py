"""The sums that attainment is made of: the statement that finds them within bounds of time, in one snapshot.

A bound that cuts a bucket is exact all the same: local dates that lie whole within the bounds come from the sums per
day, the rest of them from the sums per slot, and only the slot that a bound cuts is read record by record.
"""

from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import aclosing
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from sprocket_factory.database import Database, Value
from sprocket_factory.entities.calendar import Slot, day_of, slot_of, whole_days, zone_of
from sprocket_factory.entities.instant import DAY, EARLIEST, LATEST, SECOND

Bucketing = Literal["hour", "day", "week", "month", "total"]

BUCKETINGS: tuple[Bucketing, ...] = get_args(Bucketing)


class Bounds(NamedTuple):
    """From an instant up to, not including, another."""

    since: int = EARLIEST
    until: int = (LATEST + SECOND) - 365 * DAY
    """9999-01-01: the calendar goes on for the rest of the month there, in every time zone."""


EVER = Bounds()


class Sums(NamedTuple):
    """What one row of a roll-up, or several records, come to."""

    time_zone: str
    factory_id: int
    day: int
    start: int
    actual: int
    goal: int
    records: int
    first: int
    last: int


async def stream_sums(
    db: Database, by: Bucketing, factory_ids: Collection[int] | None, bounds: Bounds
) -> AsyncGenerator[list[Sums]]:
    """Give the sums within the bounds; anew where a factory has gone to another time zone before they were found."""
    while True:
        sql, values = await select_sums(db, by, factory_ids, bounds)
        async with aclosing(db.stream(Sums, sql, values, scans=by == "hour" or bounds != EVER)) as chunks:
            async for chunk in chunks:
                if chunk and chunk[0].factory_id == _NOBODY:
                    break
                yield chunk
            else:
                return


_SUMS = "actual, goal, records, first, last"
DAYS = f"SELECT time_zone, factory_id, day, {_SUMS}"
_DAY_ROWS = f"SELECT time_zone, factory_id, day, first AS start, {_SUMS}"
_SLOT_ROWS = f"SELECT time_zone, factory_id, day, start, {_SUMS}"

# SQLite keeps the order of a CROSS JOIN. All sums come in the order of their key; those of some dates are looked up
# factory by factory. Hours come by their start, which is another order where clocks go back over midnight.
_ALL = "CROSS JOIN factories WHERE factories.id = factory_id AND records > 0"
OF_ZONE = "WHERE time_zone = :{zone} AND factory_id = factories.id"

_RECORDS = f"""
SELECT time_zone, factory_id, CAST(:{{edge}}_day AS bigint) AS day, CAST(:{{edge}}_start AS timestamptz) AS start,
       CAST(sum(sprocket_production_actual) AS bigint), CAST(sum(sprocket_production_goal) AS bigint), count(*),
       min(time), max(time)
FROM factories CROSS JOIN production {OF_ZONE}
AND time >= :{{edge}}_since AND time < :{{edge}}_until{{{{wanted}}}} GROUP BY time_zone, factory_id"""


async def select_sums(
    db: Database, by: Bucketing, factory_ids: Collection[int] | None, bounds: Bounds
) -> tuple[str, dict[str, Value]]:
    """Return the statement for the sums within the bounds, and its parameters."""
    values: dict[str, Value] = {f"id_{place}": id_ for place, id_ in enumerate(sorted(factory_ids or ()))}
    chosen = f"IN ({', '.join(f'CAST(:{name} AS bigint)' for name in values)})"
    wanted, wanted_id = (f" AND factory_id {chosen}", f" AND id {chosen}") if values else ("", "")
    if bounds == EVER:
        if by == "hour":
            return f"{_SLOT_ROWS} FROM production_quarters {_ALL}{wanted} ORDER BY factory_id, start", values
        rows = DAYS if by == "day" else _DAY_ROWS
        return f"{rows} FROM production_days {_ALL}{wanted} ORDER BY factory_id, day", values
    order = "start" if by == "hour" else "day, start"
    parts = []
    zones = await db.all(f"SELECT DISTINCT time_zone FROM factories WHERE true{wanted_id}", **values)
    for number, (name,) in enumerate(zones):
        zone = f"zone_{number}"
        values[zone] = name
        parts += list(_parts(by, zone, zone_of(name), bounds, values))
    if not parts:
        return _NOTHING, {}
    groups = [" UNION ALL ".join(parts[place : place + MAX_TERMS]) for place in range(0, len(parts), MAX_TERMS)]
    if len(groups) > 1:
        groups = [f"SELECT * FROM ({group}) AS group_{number}" for number, group in enumerate(groups)]
    elsewhere = _ELSEWHERE.format(zones=", ".join(f":zone_{number}" for number in range(len(zones))))
    selected = " UNION ALL ".join([*groups, f"{elsewhere}{wanted_id}"]).format(wanted=wanted)
    return f"{selected} ORDER BY factory_id, {order}", values


_NOBODY = 0
"""In the place of a factory's id: it comes before all others."""

# The time zones are read first. A factory that is in none of them any more would be left out without a word.
_ELSEWHERE = f"""
SELECT time_zone, CAST({_NOBODY} AS bigint), CAST(0 AS bigint), CAST(NULL AS timestamptz), CAST(0 AS bigint),
       CAST(0 AS bigint), CAST(0 AS bigint), CAST(NULL AS timestamptz), CAST(NULL AS timestamptz)
FROM factories WHERE time_zone NOT IN ({{zones}})"""

MAX_TERMS = 250
"""SQLite unites 500 terms at most."""

_NOTHING = f"{_DAY_ROWS} FROM production_days CROSS JOIN factories WHERE false"


def _parts(by: Bucketing, name: str, zone: ZoneInfo, bounds: Bounds, values: dict[str, Value]) -> Iterator[str]:
    """Give the statements for the sums of one time zone's factories within the bounds, and add their parameters.

    `{wanted}` in them stands for the choice among those factories.
    """
    since, until = bounds
    of_zone = OF_ZONE.format(zone=name)
    for number, cut in enumerate(_cut_slots(zone, bounds)):
        edge = f"{name}_{number}"
        values |= {
            f"{edge}_day": cut.day,
            f"{edge}_start": cut.start,
            f"{edge}_since": max(cut.start, bounds.since),
            f"{edge}_until": min(cut.until, bounds.until),
        }
        since, until = (cut.until, until) if cut.start < bounds.since else (since, cut.start)
        yield _RECORDS.format(edge=edge, zone=name)
    first, last = (1, 0) if by == "hour" else whole_days(zone, *bounds)
    values |= {f"{name}_since": since, f"{name}_until": until}
    # By themselves, so that nothing is read of the slots of whole days between them.
    edges = [(day_of(zone, since) - 1, day_of(zone, until) + 1)]
    if first <= last:
        edges = [(edges[0][0], first - 1), (last + 1, edges[0][1])]
        values |= {f"{name}_first": first, f"{name}_last": last}
        yield (
            f"{_DAY_ROWS} FROM factories CROSS JOIN production_days {of_zone}"
            f" AND day BETWEEN :{name}_first AND :{name}_last AND records > 0{{wanted}}"
        )
    if since < until:
        for number, (from_, to) in enumerate(edges):
            values |= {f"{name}_from_{number}": from_, f"{name}_to_{number}": to}
            yield (
                f"{_SLOT_ROWS} FROM factories CROSS JOIN production_quarters {of_zone}"
                f" AND day BETWEEN :{name}_from_{number} AND :{name}_to_{number}"
                f" AND start >= :{name}_since AND start < :{name}_until AND records > 0{{wanted}}"
            )


def _cut_slots(zone: ZoneInfo, bounds: Bounds) -> list[Slot]:
    """Return the slots that the bounds cut: none, one, or two."""
    lower, upper = slot_of(zone, bounds.since), slot_of(zone, bounds.until)
    cut = [lower] if lower.start < bounds.since else []
    return [*cut, upper] if upper.start < bounds.until and upper not in cut else cut
