"""Copies: everything that one database holds, put into another, and the proof that it is the same, row by row."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from sprocket_factory.database import Database, Row, Transaction
from sprocket_factory.entities.change import CHANGES
from sprocket_factory.entities.instant import to_text
from sprocket_factory.errors import TooSlow


class Table(NamedTuple):
    """A table as it is copied: every column, in the order of its key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


TABLES = (
    Table("sprockets", ("id", "teeth", "pitch_diameter", "outside_diameter", "pitch"), key=("id",)),
    Table("factories", ("id", "name", "name_folded", "time_zone"), key=("id",)),
    Table(
        "keys",
        (
            "id",
            "name",
            "name_folded",
            "role",
            "factory_ids",
            "digest",
            "created_at",
            "expires_at",
            "last_used_at",
        ),
        key=("id",),
    ),
    Table(
        "production",
        ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal"),
        key=("factory_id", "time"),
    ),
    Table("changes", (*CHANGES.columns, "batch"), key=("id",)),
    Table(
        "change_rows",
        ("batch", "factory_id", "time", "sprocket_production_actual", "sprocket_production_goal"),
        key=("batch", "factory_id", "time"),
    ),
    Table(
        "replays",
        ("caller", "method", "path", "key", "digest", "at", "status", "location", "body"),
        key=("caller", "method", "path", "key"),
    ),
)
"""Everything that is kept, each table behind those that it refers to. A new table is copied once it is named here.
Roll-ups follow from production, and are made anew. Sessions stay where they are: everybody signs in again."""


class Difference(NamedTuple):
    """The first place in which two tables are not alike: what stands there in each, or None behind its end."""

    here: Row | None
    there: Row | None


async def restore(tx: Transaction, table: Table, rows: Sequence[Row]) -> None:
    """Store rows as they are."""
    await tx.fill(table.name, table.columns, rows)


async def last_key(db: Database, table: Table) -> Row | None:
    """Return the key of the last row; None where there is none."""
    backwards = ", ".join(f"{column} DESC" for column in table.key)
    row = await db.one(f"SELECT {', '.join(table.key)} FROM {table.name} ORDER BY {backwards} LIMIT 1")
    return None if row is None else tuple(row)


def stream_rows(db: Database, table: Table, after: Row | None = None) -> AsyncGenerator[list[Row]]:
    """Give every row, or those behind a key, in the order of the key."""
    key = ", ".join(table.key)
    where = ""
    if after is not None:
        where = f"WHERE ({key}) > ({', '.join(f':{column}' for column in table.key)})"
    return db.stream(
        _row,
        f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key}",
        {} if after is None else dict(zip(table.key, after, strict=True)),
    )


async def count_rows(db: Database, table: Table) -> int | None:
    """Return how many rows there are, or None where it would take long to count them."""
    try:
        (count,) = await db.read(int, f"SELECT count(*) FROM {table.name}", scans=True)
    except TooSlow:
        return None
    return count


async def compare(here: Database, there: Database, table: Table, advance: Callable[[int], object]) -> Difference | None:
    """Return the first difference between two tables, or None. `advance` is told how many rows more are alike."""
    async with (
        aclosing(stream_rows(here, table)) as ours,
        aclosing(stream_rows(there, table)) as theirs,
    ):
        mine: list[Row] = []
        others: list[Row] = []
        while True:
            mine = mine or await anext(ours, [])
            others = others or await anext(theirs, [])
            common = min(len(mine), len(others))
            if mine[:common] != others[:common]:
                return next(Difference(*pair) for pair in zip(mine, others, strict=False) if pair[0] != pair[1])
            if not common:
                return Difference(next(iter(mine), None), next(iter(others), None)) if mine or others else None
            mine, others = mine[common:], others[common:]
            advance(common)


def name_of(table: Table, difference: Difference) -> str:
    """Return which row differs, for people."""
    row = difference.here or difference.there or ()
    values = dict(zip(table.columns, row, strict=True))
    return f"{table.name}: " + ", ".join(
        f"{column} {to_text(values[column]) if column == 'time' else values[column]}" for column in table.key
    )


def _row(*values: Any) -> Row:
    return values
