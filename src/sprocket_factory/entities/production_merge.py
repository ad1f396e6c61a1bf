"""Rows that were staged in the table `incoming`: compared with what is stored, then stored themselves.

First it is counted what will become of them, then they are stored, and the database has to have done as many as were
counted: whoever changes one of them meanwhile has the merge run again. So what its entry says of it is exact.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sprocket_factory.database import Overtaken, Row, Transaction
from sprocket_factory.entities.change import Span, new_batch
from sprocket_factory.entities.instant import to_datetime
from sprocket_factory.entities.production_change import keep_records


class Compared(NamedTuple):
    """What becomes of the rows."""

    created: int
    """How many are the first of their factory and time."""
    unchanged: int
    """How many say what is stored when their turn comes."""
    overwritten: int
    """How many of the records that are stored now will have other values."""
    repeated: int
    """How many name a factory and a time that another one names."""
    spans: Sequence[Span]
    """Which records will be new or have other values."""


async def compare_incoming(tx: Transaction, *, is_replacing: bool) -> Compared:
    """Count what becomes of the rows, where those that differ replace what is stored and where they do not."""
    counts, compared = (_REPLACING, _COMPARED_REPLACING) if is_replacing else (_KEEPING, _COMPARED_KEEPING)
    (repeated_keys,) = await tx.first(_COUNT_REPEATED_KEYS)
    if not repeated_keys:
        compared = _COMPARED_SINGLY
    counted = await tx.all(f"SELECT {counts} FROM ({compared}) AS compared GROUP BY factory_id")
    created, unchanged, overwritten, repeated = (sum(row[place] for row in counted) for place in range(4))
    spans = [Span(id_, to_datetime(first), to_datetime(last), n) for *_, id_, first, last, n in counted if n]
    return Compared(created, unchanged, overwritten, repeated, spans)


async def store_incoming(tx: Transaction, compared: Compared, *, is_replacing: bool) -> int | None:
    """Store the rows in the order of their key, one of each where some are repeated.

    Returns:
        The number of the batch under which records were kept that had other values; None where there were none.

    Raises:
        Overtaken: Others have stored or removed some of them meanwhile.
    """
    one_of_each = "true"
    if compared.repeated:
        one_of_each = _IS_LAST if is_replacing else _IS_FIRST
    batch = None
    if compared.overwritten:
        batch = new_batch()
        kept = await keep_records(tx, batch, f"{_FROM_BOTH} WHERE {one_of_each} {_DIFFERING} {_IN_ORDER}")
        updated = await tx.run(f"{_UPDATE} WHERE {one_of_each} {_DIFFERING}")
        if not compared.overwritten == kept == updated:
            raise Overtaken
    new = sum(span.records for span in compared.spans) - compared.overwritten
    if new and new != await tx.run(f"{_INSERT} WHERE {one_of_each} {_IN_ORDER} {_UNLESS_STORED}"):
        raise Overtaken
    return batch


async def find_clashes(tx: Transaction, most: int) -> list[Row]:
    """Return rows that differ from what is stored when their turn comes, with that: so many at most."""
    return await tx.all(_CLASHES, most=most)


# What stands for a factory and time when a row's turn comes: where rows replace, the row before it or else what is
# stored; where they do not, what is stored or else the first row. `incoming` lies in the order of its key, so the
# windows need no sorting; but a million rows take 1.3 s, and 0.2 where each has a key of its own and no window is
# needed.
_COMPARED_REPLACING = """
    SELECT incoming.factory_id, incoming.time, incoming.actual, incoming.goal,
           lead(row_number) OVER same IS NULL AS is_last,
           production.sprocket_production_actual AS actual_stored, production.sprocket_production_goal AS goal_stored,
           coalesce(lag(incoming.actual) OVER same, production.sprocket_production_actual) AS actual_before,
           coalesce(lag(incoming.goal) OVER same, production.sprocket_production_goal) AS goal_before
    FROM incoming LEFT JOIN production USING (factory_id, time)
    WINDOW same AS (PARTITION BY factory_id, time ORDER BY row_number)
"""
_COMPARED_KEEPING = """
    SELECT incoming.factory_id, incoming.time, incoming.row_number, incoming.actual, incoming.goal,
           row_number() OVER same AS place, production.sprocket_production_actual AS actual_stored,
           coalesce(production.sprocket_production_actual, first_value(incoming.actual) OVER same) AS actual_before,
           coalesce(production.sprocket_production_goal, first_value(incoming.goal) OVER same) AS goal_before
    FROM incoming LEFT JOIN production USING (factory_id, time)
    WINDOW same AS (PARTITION BY factory_id, time ORDER BY incoming.row_number)
"""
_COMPARED_SINGLY = """
    SELECT incoming.factory_id, incoming.time, incoming.actual, incoming.goal, true AS is_last, 1 AS place,
           production.sprocket_production_actual AS actual_stored, production.sprocket_production_goal AS goal_stored,
           production.sprocket_production_actual AS actual_before, production.sprocket_production_goal AS goal_before
    FROM incoming LEFT JOIN production USING (factory_id, time)
"""
_COUNT_REPEATED_KEYS = """
SELECT count(*) FROM (SELECT 1 FROM incoming GROUP BY factory_id, time HAVING count(*) > 1) AS repeated
"""
_IS_TOUCHED = "is_last AND (actual_stored IS NULL OR actual_stored <> actual OR goal_stored <> goal)"
_REPLACING = f"""
       count(*) FILTER (WHERE actual_before IS NULL),
       count(*) FILTER (WHERE actual_before = actual AND goal_before = goal),
       count(*) FILTER (WHERE is_last AND (actual_stored <> actual OR goal_stored <> goal)),
       count(*) FILTER (WHERE NOT is_last),
       factory_id,
       min(time) FILTER (WHERE {_IS_TOUCHED}),
       max(time) FILTER (WHERE {_IS_TOUCHED}),
       count(*) FILTER (WHERE {_IS_TOUCHED})
"""
_IS_NEW = "actual_stored IS NULL AND place = 1"
_KEEPING = f"""
       count(*) FILTER (WHERE {_IS_NEW}),
       count(*) FILTER (WHERE actual_before = actual AND goal_before = goal AND NOT ({_IS_NEW})),
       0,
       count(*) FILTER (WHERE place > 1),
       factory_id,
       min(time) FILTER (WHERE {_IS_NEW}),
       max(time) FILTER (WHERE {_IS_NEW}),
       count(*) FILTER (WHERE {_IS_NEW})
"""
_CLASHES = f"""
SELECT row_number, factory_id, time, actual, goal, actual_before, goal_before
FROM ({_COMPARED_KEEPING}) AS compared
WHERE actual_before <> actual OR goal_before <> goal ORDER BY row_number LIMIT :most
"""
# CROSS JOIN, so that SQLite looks at the rows that came and not at all that is stored.
_FROM_BOTH = "FROM incoming CROSS JOIN production"
_UPDATE = """
UPDATE production SET sprocket_production_actual = incoming.actual, sprocket_production_goal = incoming.goal
FROM incoming
"""
_INSERT = """
INSERT INTO production (factory_id, time, sprocket_production_actual, sprocket_production_goal)
SELECT factory_id, time, actual, goal FROM incoming
"""
_UNLESS_STORED = "ON CONFLICT (factory_id, time) DO NOTHING"
_IN_ORDER = "ORDER BY incoming.factory_id, incoming.time"
_DIFFERING = """
AND production.factory_id = incoming.factory_id AND production.time = incoming.time
AND (production.sprocket_production_actual <> incoming.actual OR production.sprocket_production_goal <> incoming.goal)
"""
_IS_FIRST = """
NOT EXISTS (SELECT 1 FROM incoming AS earlier WHERE earlier.factory_id = incoming.factory_id
            AND earlier.time = incoming.time AND earlier.row_number < incoming.row_number)
"""
_IS_LAST = """
NOT EXISTS (SELECT 1 FROM incoming AS later WHERE later.factory_id = incoming.factory_id
            AND later.time = incoming.time AND later.row_number > incoming.row_number)
"""
