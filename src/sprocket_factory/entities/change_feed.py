"""The record of changes as a feed: read from a position on, and kept for some time."""

from typing import NamedTuple

from sprocket_factory.database import Database, Transaction
from sprocket_factory.entities.change import CHANGES, Change, change_of, complete_changes
from sprocket_factory.entities.instant import DAY

KEPT_AT_LEAST = 7 * DAY
"""Whoever follows the feed may have been away for so long."""

MAX_PRUNED = 1000
MAX_ROWS_PRUNED = 10_000
"""So many entries, or old rows, are removed at a time, so that nobody waits long for it."""

_COLUMNS = ", ".join(CHANGES.columns)


class Pruned(NamedTuple):
    """How much was removed."""

    changes: int
    rows: int


class NotKept(Exception):  # noqa: N818 - whoever follows the feed begins anew
    """Not everything behind this position is there: it is older than what is kept, or not of this feed at all."""


class LastChange(NamedTuple):
    """The last change that is visible. No other has both, though after a restore positions go on from an older one."""

    position: int
    at: int | None
    """None where nothing is left of the record."""


async def find_last_change(db: Database) -> LastChange:
    """Return the last change that is visible; its position is 0 before the first one."""
    await complete_changes(db)
    row = await db.one("SELECT id, at FROM changes ORDER BY id DESC LIMIT 1")
    return LastChange(*row) if row else LastChange(await db.last_id("changes"), None)


async def find_last_position(db: Database) -> int:
    """Return the position of the last change that is visible; 0 before the first one."""
    return (await find_last_change(db)).position


async def read_feed(db: Database, after: int, limit: int) -> list[Change]:
    """Return the changes behind a position in their order, up to so many. Whoever goes on from the last misses none.

    Args:
        db: Where to look.
        after: The position of the last change that is known; 0 for none.
        limit: How many at most.

    Raises:
        NotKept: Some of what is behind this position is gone.
    """
    await complete_changes(db)
    changes = await _read_from(db, after, limit + 1)
    if changes and changes[0].id == after:
        return changes[1:]
    # The one that is known is gone, or never was. Ids up to `last` are visible once all have been put in order again.
    last = await db.last_id("changes")
    if after > last:
        raise NotKept
    await complete_changes(db)
    changes = await _read_from(db, after + 1, limit)
    first = changes[0].id if changes else last + 1
    if after < first - 1:
        raise NotKept
    return changes


async def prune_changes(tx: Transaction, outdated: int) -> Pruned:
    """Remove some of the oldest changes from before an instant, with their old rows; nothing where there are none left.

    What is kept is everything from some position on: what lies behind a change that is to be kept is kept too.
    """
    oldest = await tx.all("SELECT id, at, batch FROM changes ORDER BY id LIMIT :most", most=MAX_PRUNED)
    last = rows = 0
    for id_, at, batch in oldest:
        if at >= outdated:
            break
        rows += await _prune_rows(tx, batch) if batch is not None else 0
        if rows >= MAX_ROWS_PRUNED:
            break  # this one is next, and has more of them
        last = id_
    return Pruned(await tx.run("DELETE FROM changes WHERE id <= :last", last=last), rows)


async def _read_from(db: Database, position: int, limit: int) -> list[Change]:
    return await db.read(
        change_of,
        f"SELECT {_COLUMNS} FROM changes WHERE id >= :position ORDER BY id LIMIT :most",
        {"position": position, "most": limit},
    )


async def _prune_rows(tx: Transaction, batch: int) -> int:
    end = await tx.one(
        "SELECT factory_id, time FROM change_rows WHERE batch = :batch ORDER BY factory_id, time LIMIT 1 OFFSET :most",
        batch=batch,
        most=MAX_ROWS_PRUNED,
    )
    if end is None:
        return await tx.run("DELETE FROM change_rows WHERE batch = :batch", batch=batch)
    return await tx.run(
        "DELETE FROM change_rows WHERE batch = :batch AND (factory_id, time) < (:factory_id, :time)",
        batch=batch,
        factory_id=end[0],
        time=end[1],
    )
