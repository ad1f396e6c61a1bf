"""Production: what each factory set out to make at each time, and what it made."""

from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.factory import check_factory_exists
from sprocket_factory.entities.instant import AnyTime, Time, to_datetime, to_text
from sprocket_factory.entities.listing import Listing
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


class Production(Struct, frozen=True):
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
    row = await tx.lock(_FIND, **key._asdict())
    if row is None:
        await check_factory_exists(tx, key.factory_id)
        return await _insert(tx, key, counts), "created"
    if row[:2] != (counts.sprocket_production_actual, counts.sprocket_production_goal):
        raise Conflict(
            f"Factory {key.factory_id} at {to_text(key.time)} stands at actual {row[0]}, goal {row[1]}.",
            hint="PUT replaces a record.",
        )
    return production_of(*row), "unchanged"


async def put_production(
    tx: Transaction, key: Key, counts: Counts, expected: Expected = ANYTHING
) -> tuple[Production, Outcome]:
    """Create or replace a record. Raises Stale, and NotFound where there is no such factory."""
    row = await tx.lock(_FIND, **key._asdict())
    if row is None:
        await check_factory_exists(tx, key.factory_id)
    check_expected(expected, production_of(*row) if row is not None else None)
    if row is None:
        return await _insert(tx, key, counts), "created"
    return await _update(tx, key, counts), "replaced"


async def change_production(
    tx: Transaction, key: Key, changes: CountChanges, expected: Expected = ANYTHING
) -> Production:
    """Change one or both counts of a record. Raises NotFound or Stale."""
    actual, goal, *_ = await _expect(tx, key, expected)
    counts = Counts(
        sprocket_production_actual=_or(changes.sprocket_production_actual, actual),
        sprocket_production_goal=_or(changes.sprocket_production_goal, goal),
    )
    return await _update(tx, key, counts)


async def remove_production(tx: Transaction, key: Key, expected: Expected = ANYTHING) -> None:
    """Remove a record. Raises NotFound or Stale."""
    await _expect(tx, key, expected)
    await tx.run("DELETE FROM production WHERE factory_id = :factory_id AND time = :time", **key._asdict())


async def remove_production_span(
    tx: Transaction,
    factory_id: int,
    since: int,
    until: int,
    dry_run: bool,  # noqa: FBT001 - write functions take their arguments by place
) -> int:
    """Remove a factory's records from an instant up to, not including, another; return how many. Raises NotFound."""
    await check_factory_exists(tx, factory_id)
    span = "FROM production WHERE factory_id = :factory_id AND time >= :since AND time < :until"
    if not dry_run:
        return await tx.run(f"DELETE {span}", factory_id=factory_id, since=since, until=until)
    (count,) = await tx.first(f"SELECT count(*) {span}", factory_id=factory_id, since=since, until=until)
    return int(count)


def no_production(key: Key) -> NotFound:
    """Return the refusal for a factory and time that have no record."""
    return NotFound(f"Factory {key.factory_id} has no record at {to_text(key.time)}.", hint="PUT creates one.")


def _or(change: int | UnsetType, stored: int) -> int:
    return stored if change is UNSET else change


async def _expect(tx: Transaction, key: Key, expected: Expected) -> tuple[int, int, int, int]:
    """Return the row of a record as nobody else can change it now. Raises NotFound or Stale."""
    row = await tx.lock(_FIND, **key._asdict())
    if row is None:
        raise no_production(key)
    check_expected(expected, production_of(*row))
    actual, goal, time, factory_id = row
    return actual, goal, time, factory_id


async def _insert(tx: Transaction, key: Key, counts: Counts) -> Production:
    """Store a new record. No upsert: whoever stored it a moment ago must not be overwritten unseen."""
    row = await tx.first(
        "INSERT INTO production (factory_id, time, sprocket_production_actual, sprocket_production_goal)"
        f" VALUES (:factory_id, :time, :actual, :goal) {_RETURNING}",
        **_values(key, counts),
    )
    return production_of(*row)


async def _update(tx: Transaction, key: Key, counts: Counts) -> Production:
    row = await tx.first(
        "UPDATE production SET sprocket_production_actual = :actual, sprocket_production_goal = :goal"
        f" WHERE factory_id = :factory_id AND time = :time {_RETURNING}",
        **_values(key, counts),
    )
    return production_of(*row)


def _values(key: Key, counts: Counts) -> dict[str, int]:
    actual, goal = counts.sprocket_production_actual, counts.sprocket_production_goal
    return key._asdict() | {"actual": actual, "goal": goal}
