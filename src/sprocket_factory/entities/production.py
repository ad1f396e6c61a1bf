"""Production: what each factory set out to make at each time, and what it made."""

from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from sprocket_factory.database import Overtaken, Reader, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.attainment_rollup import (
    Bucket,
    hold_bucket,
    hold_span,
    recount_bucket,
    recount_touched,
)
from sprocket_factory.entities.change import Action, Span, new_batch
from sprocket_factory.entities.factory import share_time_zone
from sprocket_factory.entities.instant import AnyTime, Time, to_datetime, to_text
from sprocket_factory.entities.listing import Listing
from sprocket_factory.entities.members import members_of
from sprocket_factory.entities.production_change import enter_many, enter_record, keep_records
from sprocket_factory.entities.version import ANYTHING, Expected, check_expected
from sprocket_factory.errors import Conflict, NotFound

MAX_COUNT = 2_147_483_647

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT, description="A whole number of sprockets.")]

Outcome = Literal["created", "replaced", "unchanged"]


class Key(NamedTuple):
    """What tells a record from every other: whose it is, and its instant."""

    factory_id: int
    time: int


class Counts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record says of its factory and time."""

    sprocket_production_actual: Count
    sprocket_production_goal: Count


class CountChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a record; what is left out stays."""

    sprocket_production_actual: Count | UnsetType = UNSET
    sprocket_production_goal: Count | UnsetType = UNSET


class NewProduction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as it arrives: of any factory, and its time in any form that is read."""

    factory_id: Id
    time: AnyTime
    sprocket_production_actual: Count
    sprocket_production_goal: Count


class Production(Struct, frozen=True, gc=False):
    """What one factory set out to make at one moment, and what it made."""

    sprocket_production_actual: Count
    sprocket_production_goal: Count
    time: Time
    factory_id: Id


def production_of(actual: int, goal: int, time: int, factory_id: int) -> Production:
    """Return the record that a row holds."""
    return Production(actual, goal, to_datetime(time), factory_id)


PRODUCTION = Listing(
    "production",
    {
        "sprocket_production_actual": "integer",
        "sprocket_production_goal": "integer",
        "time": "time",
        "factory_id": "integer",
    },
    key=("factory_id", "time"),
    make=production_of,
    indexes=(("time", "factory_id"),),
)

OLD_PRODUCTION = PRODUCTION._replace(table="change_rows", indexes=(("batch", "factory_id", "time"),))
"""What writes of many have replaced or removed; `batch` says which of them."""

_FIND = (
    "SELECT sprocket_production_actual, sprocket_production_goal, time, factory_id"
    " FROM production WHERE factory_id = :factory_id AND time = :time"
)

_RETURNING = "RETURNING sprocket_production_actual, sprocket_production_goal, time, factory_id"


async def find_production(db: Reader, key: Key) -> Production:
    """Return the record of this factory and time. Raises NotFound."""
    row = await db.one(_FIND, **key._asdict())
    if row is None:
        raise no_production(key)
    return production_of(*row)


async def add_production(tx: Transaction, key: Key, counts: Counts) -> tuple[Production, Outcome]:
    """Store a record, unless it is stored already: sending it again changes nothing.

    Raises:
        NotFound: There is no such factory.
        Conflict: Other values are stored.
    """
    bucket = await _hold(tx, key)
    row = await tx.lock(_FIND, **key._asdict())
    if row is None:
        return await _insert(tx, key, counts, bucket), "created"
    if row[:2] != (counts.sprocket_production_actual, counts.sprocket_production_goal):
        raise Conflict(
            f"Factory {key.factory_id} at {to_text(key.time)} stands at actual {row[0]}, goal {row[1]}.",
            hint="PUT replaces a record.",
        )
    return production_of(*row), "unchanged"


async def put_production(
    tx: Transaction, key: Key, counts: Counts, expected: Expected = ANYTHING
) -> tuple[Production, Outcome]:
    """Create or replace a record; where the same is stored, write nothing.

    Raises:
        Stale: What is stored is not what was expected.
        NotFound: There is no such factory.
    """
    bucket = await _hold(tx, key)
    row = await tx.lock(_FIND, **key._asdict())
    check_expected(expected, production_of(*row) if row is not None else None)
    if row is None:
        return await _insert(tx, key, counts, bucket), "created"
    before = production_of(*row)
    after = await _store(tx, "replace", key, before, counts, bucket)
    return after, "unchanged" if after is before else "replaced"


async def change_production(
    tx: Transaction, key: Key, changes: CountChanges, expected: Expected = ANYTHING
) -> Production:
    """Change one or both counts of a record; where they are so already, write nothing. Raises NotFound or Stale."""
    bucket = await _hold(tx, key)
    return await _store(tx, "update", key, await _expect(tx, key, expected), changes, bucket)


async def remove_production(tx: Transaction, key: Key, expected: Expected = ANYTHING) -> None:
    """Remove a record. Raises NotFound or Stale."""
    bucket = await _hold(tx, key)
    stored = await _expect(tx, key, expected)
    await tx.run("DELETE FROM production WHERE factory_id = :factory_id AND time = :time", **key._asdict())
    await recount_bucket(tx, bucket)
    await enter_record(tx, "remove", *key, before=stored)


async def remove_production_span(
    tx: Transaction,
    factory_id: int,
    since: int,
    until: int,
    dry_run: bool,  # noqa: FBT001 - write functions take their arguments by place
) -> int:
    """Remove a factory's records from an instant up to, not including, another; return how many. Raises NotFound."""
    time_zone = await share_time_zone(tx, factory_id)
    from_span = "FROM production WHERE factory_id = :factory_id AND time >= :since AND time < :until"
    span = {"factory_id": factory_id, "since": since, "until": until}
    if not dry_run:
        from_span += f" AND {await hold_span(tx, factory_id, time_zone, since, until)}"
    count, first, last = await tx.first(f"SELECT count(*), min(time), max(time) {from_span}", **span)
    if count and not dry_run:
        batch = new_batch()
        kept = await keep_records(tx, batch, from_span, **span)
        if not count == kept == await tx.run(f"DELETE {from_span}", **span):
            raise Overtaken
        await recount_touched(tx)
        await enter_many(tx, "remove", [Span(factory_id, to_datetime(first), to_datetime(last), count)], batch)
    return int(count)


def no_production(key: Key) -> NotFound:
    """Return the refusal for a factory and time that have no record."""
    return NotFound(f"Factory {key.factory_id} has no record at {to_text(key.time)}.", hint="PUT creates one.")


async def _hold(tx: Transaction, key: Key) -> Bucket:
    """Keep others from changing what this record is counted in, before it is looked at. Raises NotFound."""
    return await hold_bucket(tx, key.factory_id, await share_time_zone(tx, key.factory_id), key.time)


async def _expect(tx: Transaction, key: Key, expected: Expected) -> Production:
    """Return a record as nobody else can change it now. Raises NotFound or Stale."""
    row = await tx.lock(_FIND, **key._asdict())
    if row is None:
        raise no_production(key)
    stored = production_of(*row)
    check_expected(expected, stored)
    return stored


async def _insert(tx: Transaction, key: Key, counts: Counts, bucket: Bucket) -> Production:
    """Store a new record. No upsert: whoever stored it a moment ago must not be overwritten unseen."""
    row = await tx.first(
        "INSERT INTO production (factory_id, time, sprocket_production_actual, sprocket_production_goal)"
        f" VALUES (:factory_id, :time, :actual, :goal) {_RETURNING}",
        **_values(key, counts),
    )
    record = production_of(*row)
    await recount_bucket(tx, bucket)
    await enter_record(tx, "create", *key, after=record)
    return record


async def _store(  # noqa: PLR0913, PLR0917 - what is stored, as what, and what it is counted in
    tx: Transaction, action: Action, key: Key, before: Production, changes: Counts | CountChanges, bucket: Bucket
) -> Production:
    after = replace(before, **members_of(changes))
    if after == before:
        return before
    await tx.run(
        "UPDATE production SET sprocket_production_actual = :actual, sprocket_production_goal = :goal"
        " WHERE factory_id = :factory_id AND time = :time",
        **_values(key, after),
    )
    await recount_bucket(tx, bucket)
    await enter_record(tx, action, *key, before=before, after=after)
    return after


def _values(key: Key, counts: Counts | Production) -> dict[str, int]:
    actual, goal = counts.sprocket_production_actual, counts.sprocket_production_goal
    return key._asdict() | {"actual": actual, "goal": goal}
