"""Copies: everything that one database holds, put into another, and the proof that it is the same."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct

from sprocket_factory.database import Database, Reader, Row, Transaction
from sprocket_factory.entities.factory import Factory
from sprocket_factory.entities.production import Key
from sprocket_factory.entities.production_import import Spool, merge_production
from sprocket_factory.entities.sprocket import Sprocket


class Sums(Struct, frozen=True):
    """What a factory's production comes to: enough to tell one lost, doubled or changed record."""

    records: int
    actual: int | None
    goal: int | None
    first: int | None
    last: int | None


async def restore_sprockets(tx: Transaction, sprockets: Sequence[Sprocket]) -> None:
    """Store sprockets under the ids that they have."""
    for sprocket in sprockets:
        await tx.run(
            "INSERT INTO sprockets (id, teeth, pitch_diameter, outside_diameter, pitch)"
            " VALUES (:id, :teeth, :pitch_diameter, :outside_diameter, :pitch)",
            **{name: getattr(sprocket, name) for name in Sprocket.__struct_fields__},
        )


async def restore_factories(tx: Transaction, factories: Sequence[Factory]) -> None:
    """Store factories under the ids that they have."""
    for factory in factories:
        await tx.run(
            "INSERT INTO factories (id, name, name_folded, time_zone) VALUES (:id, :name, :folded, :time_zone)",
            id=factory.id,
            name=factory.name,
            folded=factory.name.casefold(),
            time_zone=factory.time_zone,
        )


async def restore_replays(tx: Transaction, replays: Sequence[Row]) -> None:
    """Store the answers that are kept for repetitions, unless they are there."""
    for caller, method, path, key, digest, at, status, location, body in replays:
        await tx.run(
            "INSERT INTO replays (caller, method, path, key, digest, at, status, location, body)"
            " VALUES (:caller, :method, :path, :key, :digest, :at, :status, :location, :body)"
            " ON CONFLICT (caller, method, path, key) DO NOTHING",
            caller=caller,
            method=method,
            path=path,
            key=key,
            digest=digest,
            at=at,
            status=status,
            location=location,
            body=body,
        )


async def restore_last_ids(tx: Transaction, last_ids: dict[str, int]) -> None:
    """Let no id be given again that was ever given, whether its thing is still there or not."""
    for table, last_id in last_ids.items():
        await tx.reserve_ids(table, last_id)


async def restore_production(tx: Transaction, rows: Sequence[Row]) -> None:
    """Store records in the order of their key. Raises Conflict where others are stored, or Invalid."""
    with closing(Spool()) as spool:
        for row in rows:
            spool.add(*row)
        spool.finish()
        await merge_production(tx, spool, "error")


async def last_production(db: Reader) -> Key | None:
    """Return the last record by factory and time; None where there is none."""
    row = await db.one("SELECT factory_id, time FROM production ORDER BY factory_id DESC, time DESC LIMIT 1")
    return None if row is None else Key(*row)


def stream_production_rows(db: Database, after: Key | None) -> AsyncGenerator[list[Row]]:
    """Give factory, time, actual and goal of every record behind this one, in the order of the key."""
    where = "" if after is None else "WHERE (factory_id, time) > (:factory_id, :time)"
    return db.stream(
        _row,
        "SELECT factory_id, time, sprocket_production_actual, sprocket_production_goal"
        f" FROM production {where} ORDER BY factory_id, time",
        {} if after is None else after._asdict(),
    )


def stream_replays(db: Database) -> AsyncGenerator[list[Row]]:
    """Give every answer that is kept for repetitions."""
    return db.stream(
        _row,
        "SELECT caller, method, path, key, digest, at, status, location, body FROM replays"
        " ORDER BY caller, method, path, key",
    )


async def count_production(db: Database) -> int:
    """Return how many records there are. Raises TooSlow."""
    (count,) = await db.read(int, "SELECT count(*) FROM production", scans=True)
    return count


async def sum_production(db: Database, factory_id: int) -> Sums:
    """Return what a factory's production comes to. Raises TooSlow."""
    (sums,) = await db.read(
        Sums,
        "SELECT count(*), CAST(sum(sprocket_production_actual) AS bigint),"
        " CAST(sum(sprocket_production_goal) AS bigint), min(time), max(time)"
        " FROM production WHERE factory_id = :factory_id",
        {"factory_id": factory_id},
        scans=True,
    )
    return sums


def _row(*values: Any) -> Row:
    return values
