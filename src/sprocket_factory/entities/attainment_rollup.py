"""Roll-ups: the sums of production per slot of a quarter-hour and per local date, which attainment is read from.

They are kept right in the transaction that changes production, by counting anew and never by adding differences. Who
changes production first shares its factory, whose time zone says to which dates the slots belong; then holds the slots
and the dates that are touched (`hold_...`), in the order of their keys; and counts them anew when it is done
(`recount_...`). So of two writers that touch one slot the second waits, and then counts what the first has stored as
well; and who holds a slot owns the records in it. Slots that nothing lies in stay as rows, and are passed over on
reading.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sprocket_factory.database import Block, Overtaken, Reader, Row, Transaction, Value
from sprocket_factory.entities.calendar import quarter_slots, slot_of, tzdata_version, zone_of

BLOCK_QUARTERS = 1000


class Bucket(NamedTuple):
    """One slot of one factory, and the date that it is part of."""

    factory_id: int
    day: int
    start: int
    until: int


async def hold_bucket(tx: Transaction, factory_id: int, time_zone: str, time: int) -> Bucket:
    """Keep everybody else from changing the slot and the date that a record of this time belongs to."""
    bucket = Bucket(factory_id, *slot_of(zone_of(time_zone), time))
    await tx.hold(_HOLD_BUCKET, **bucket._asdict())
    return bucket


async def recount_bucket(tx: Transaction, bucket: Bucket) -> None:
    """Count a slot and its date anew."""
    await tx.run(_RECOUNT_SLOT, **bucket._asdict())
    await tx.run(_RECOUNT_DAY, factory_id=bucket.factory_id, day=bucket.day)


async def hold_incoming(tx: Transaction, time_zones: Mapping[int, str]) -> None:
    """Keep everybody else from changing the slots and dates that the staged rows of these factories belong to.

    Raises:
        Overtaken: A row is of another factory.
    """
    await _touch(tx, "incoming", {}, time_zones)
    await _hold_touched(tx)


async def hold_span(tx: Transaction, factory_id: int, time_zone: str, since: int, until: int) -> str:
    """Keep everybody else from changing the slots and dates in which a factory has records of this span.

    Returns:
        The condition that a record lies in one of them: others may store more beside them meanwhile.
    """
    span = {"factory_id": factory_id, "since": since, "until": until}
    where = "factory_id = :factory_id AND time >= :since AND time < :until"
    await _touch(tx, f"production WHERE {where}", span, {factory_id: time_zone})
    await _hold_touched(tx)
    return f"{tx.quarter} IN (SELECT start FROM touched)"


async def recount_touched(tx: Transaction) -> None:
    """Count anew what is held by hold_incoming or hold_span."""
    await tx.run(_RECOUNT_SLOTS)
    await tx.run(_RECOUNT_DAYS)


async def rebuild(tx: Transaction, factory_id: int, time_zone: str) -> None:
    """Make all of a factory's sums anew: its days begin elsewhere now. It has to be locked, so that nobody writes."""
    for table in ("production_quarters", "production_days"):
        await tx.run(f"DELETE FROM {table} WHERE factory_id = :factory_id", factory_id=factory_id)
    zone = zone_of(time_zone)
    cut: list[tuple[int, int, int]] = []
    async with aclosing(tx.chunks(_SUM_QUARTERS.format(quarter=tx.quarter), factory_id=factory_id)) as chunks:
        async for chunk in chunks:
            whole = []
            for quarter, *sums in chunk:
                first, *others = quarter_slots(zone, quarter)
                if others:
                    cut += [first, *others]
                else:
                    whole.append((factory_id, *first, *sums))
            await tx.fill("production_quarters", _SLOT_COLUMNS, whole)
    for day, start, until in cut:
        await tx.run(_RECOUNT_SLOT, factory_id=factory_id, day=day, start=start, until=until)
    await tx.run(_SUM_DAYS, factory_id=factory_id)


async def are_up_to_date(db: Reader) -> bool:
    """Return whether all sums are those of the pinned time zones."""
    row = await db.one("SELECT tzdata FROM rollups")
    return row is not None and row[0] == tzdata_version()


async def outdate(tx: Transaction) -> None:
    """Let all sums be made anew before they are read the next time: production is filled past them."""
    await tx.run("UPDATE rollups SET tzdata = ''")


async def rebuild_outdated(tx: Transaction) -> int:
    """Make all sums anew unless somebody has done so by now; return for how many factories."""
    row = await tx.lock("SELECT tzdata FROM rollups")
    if row is not None and row[0] == tzdata_version():
        return 0
    factories = await tx.all("SELECT id FROM factories ORDER BY id")
    for (factory_id,) in factories:
        row = await tx.lock("SELECT time_zone FROM factories WHERE id = :id", id=factory_id)
        if row is not None:
            await rebuild(tx, factory_id, row[0])
    await tx.run("UPDATE rollups SET tzdata = :version", version=tzdata_version())
    return len(factories)


_SLOT_COLUMNS = ("factory_id", "day", "start", "until", "actual", "goal", "records", "first", "last")

_INSERT_SLOTS = f"""
INSERT INTO production_quarters ({", ".join(_SLOT_COLUMNS)})"""

_INSERT_DAYS = """
INSERT INTO production_days (factory_id, day, actual, goal, records, first, last)"""

_NOTHING = "0, 0, 0, CAST(NULL AS timestamptz), CAST(NULL AS timestamptz)"
_ONE_SLOT = (
    "CAST(:factory_id AS bigint), CAST(:day AS bigint), CAST(:start AS timestamptz), CAST(:until AS timestamptz)"
)

# Upserts, for they wait for whoever is just inserting the same row, and lock one that is there.
_HOLD_SLOT = "ON CONFLICT (factory_id, day, start) DO UPDATE SET until = excluded.until"
_HOLD_DAY = "ON CONFLICT (factory_id, day) DO UPDATE SET records = production_days.records"

# A date is held behind its slot, which the second INSERT reads from the first.
_HOLD_BUCKET = f"""
WITH held AS ({_INSERT_SLOTS} VALUES (:factory_id, :day, :start, :until, 0, 0, 0, NULL, NULL) {_HOLD_SLOT}
              RETURNING factory_id, day)
{_INSERT_DAYS} SELECT factory_id, day, {_NOTHING} FROM held {_HOLD_DAY}"""

_SUMS = "actual, goal, records, first, last"
_COUNTED = "excluded.actual, excluded.goal, excluded.records, excluded.first, excluded.last"

_COUNT_RECORDS = """
coalesce(CAST(sum(sprocket_production_actual) AS bigint), 0),
coalesce(CAST(sum(sprocket_production_goal) AS bigint), 0), count(*), min(time), max(time) FROM production"""

_COUNT_SLOTS = """
CAST(sum(actual) AS bigint), CAST(sum(goal) AS bigint), CAST(sum(records) AS bigint), min(first), max(last)
FROM production_quarters AS slots"""

_RECOUNT_SLOT = f"""{_INSERT_SLOTS}
SELECT {_ONE_SLOT}, {_COUNT_RECORDS} WHERE factory_id = :factory_id AND time >= :start AND time < :until
ON CONFLICT (factory_id, day, start) DO UPDATE SET ({_SUMS}) = ({_COUNTED})"""

_RECOUNT_DAY = f"""{_INSERT_DAYS}
SELECT CAST(:factory_id AS bigint), CAST(:day AS bigint), {_COUNT_SLOTS} WHERE factory_id = :factory_id AND day = :day
ON CONFLICT (factory_id, day) DO UPDATE SET ({_SUMS}) = ({_COUNTED})"""

_SUM_QUARTERS = f"""
SELECT {{quarter}} AS quarter, {_COUNT_RECORDS} WHERE factory_id = :factory_id GROUP BY quarter"""

_SUM_DAYS = f"""{_INSERT_DAYS}
SELECT factory_id, day, {_COUNT_SLOTS} WHERE factory_id = :factory_id GROUP BY factory_id, day"""

_RECOUNT_SLOTS = f"""
UPDATE production_quarters AS slots SET ({_SUMS}) = (
    SELECT {_COUNT_RECORDS}
    WHERE production.factory_id = slots.factory_id AND time >= slots.start AND time < slots.until)
WHERE (factory_id, day, start) IN (SELECT factory_id, day, start FROM touched)"""

_RECOUNT_DAYS = f"""
UPDATE production_days AS days SET ({_SUMS}) = (
    SELECT {_COUNT_SLOTS} WHERE slots.factory_id = days.factory_id AND slots.day = days.day)
WHERE (factory_id, day) IN (SELECT factory_id, day FROM touched)"""


async def _touch(tx: Transaction, rows: str, values: Mapping[str, Value], time_zones: Mapping[int, str]) -> None:
    """Put the slots that these rows lie in into the table `touched`, in place of what is there."""
    zones = {factory_id: zone_of(name) for factory_id, name in time_zones.items()}
    await tx.clear("touched")
    async with aclosing(
        tx.chunks(f"SELECT DISTINCT factory_id, {tx.quarter} AS quarter FROM {rows}", **values)
    ) as found:
        async for chunk in found:
            await tx.stage("touched", _blocks(chunk, zones))


def _blocks(quarters: Sequence[Row], zones: Mapping[int, ZoneInfo]) -> Iterator[Block]:
    """Give the slots of quarter-hours as rows of the table `touched`."""
    for place in range(0, len(quarters), BLOCK_QUARTERS):
        block: Block = array("q")
        for factory_id, quarter in quarters[place : place + BLOCK_QUARTERS]:
            if factory_id not in zones:
                raise Overtaken  # by whoever has made it since the time zones were read
            for slot in quarter_slots(zones[factory_id], quarter):
                block.extend((factory_id, *slot))
        yield block


async def _hold_touched(tx: Transaction) -> None:
    await tx.run(
        f"{_INSERT_SLOTS} SELECT factory_id, day, start, until, {_NOTHING} FROM touched WHERE true"
        f" ORDER BY factory_id, day, start {_HOLD_SLOT}"
    )
    await tx.run(
        f"{_INSERT_DAYS} SELECT DISTINCT factory_id, day, {_NOTHING} FROM touched WHERE true"
        f" ORDER BY factory_id, day {_HOLD_DAY}"
    )
