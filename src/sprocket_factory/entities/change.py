"""Changes: who did what when, one entry for every write that changed something.

An entry is written in the transaction of its write, so there is none without the other. It comes behind the statements
of that write: of two who write the same thing, the entry of the first then has the smaller position, on every engine.
What a write of many has replaced or removed is kept row by row, under the number of its batch.
"""

from collections.abc import Sequence
from contextlib import suppress
from random import randrange
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from sprocket_factory.database import Database, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.instant import Time, now, to_datetime
from sprocket_factory.entities.listing import Listing
from sprocket_factory.entities.version import encode
from sprocket_factory.errors import NotFound, StorageFull

Action = Literal["create", "replace", "update", "remove", "import", "revoke"]

Entity = Literal["sprocket", "factory", "production", "key"]

NO_BATCH = 0

Thing = Annotated[
    Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | None,
    Meta(description="The whole thing; null where there was none, and for many."),
]
"""Its JSON, as it stood in the answers of that time."""


class Span(Struct, frozen=True):
    """Which records of one factory a write of many has touched: the first and the last of them, and how many."""

    factory_id: Id
    first: Time = msgspec.field(name="from")
    last: Time = msgspec.field(name="to")
    records: int


class Change(Struct, frozen=True):
    """One entry of the record of changes."""

    id: Annotated[Id, Meta(description="A position: it grows in the order in which changes become visible.")]
    at: Time
    actor: Annotated[str, Meta(description="Who did it: a name, and in brackets what tells it from another.")]
    action: Action
    entity: Entity
    key: Annotated[str, Meta(description="Which one, as its path has it; of many records the factory, if it is one.")]
    before: Thing
    after: Thing
    records: Annotated[int, Meta(ge=1, description="How many things were changed.")]
    request_id: Annotated[str, Meta(description="For which request; empty where there was none.")]
    spans: Annotated[list[Span] | None, Meta(description="Of many: which records, by factory.")]


class Entry(NamedTuple):
    """What a write says of itself."""

    action: Action
    entity: Entity
    key: str
    before: Struct | None = None
    after: Struct | None = None
    records: int = 1
    spans: Sequence[Span] | None = None
    batch: int | None = None


def change_of(  # noqa: PLR0913, PLR0917 - one for each column
    id_: int,
    at: int,
    actor: str,
    action: Action,
    entity: Entity,
    key: str,
    before: str | None,
    after: str | None,
    records: int,
    request_id: str,
    spans: str | None,
) -> Change:
    """Return the change that a row holds."""
    return Change(
        id_,
        to_datetime(at),
        actor,
        action,
        entity,
        key,
        _raw(before),
        _raw(after),
        records,
        request_id,
        None if spans is None else msgspec.json.decode(spans, type=list[Span]),
    )


CHANGES = Listing(
    "changes",
    {
        "id": "integer",
        "at": "time",
        "actor": "text",
        "action": "text",
        "entity": "text",
        "key": "text",
        "before": "shown",
        "after": "shown",
        "records": "integer",
        "request_id": "text",
        "spans": "shown",
    },
    key=("id",),
    make=change_of,
)


async def enter(tx: Transaction, entry: Entry) -> None:
    """Put an entry into the record of changes, for whoever writes."""
    await tx.run_last(
        f"INSERT INTO {tx.new_changes}"
        " (at, actor, action, entity, key, before, after, records, request_id, spans, batch)"
        " VALUES (:at, :actor, :action, :entity, :key, :before, :after, :records, :request_id, :spans, :batch)",
        at=now(),
        actor=tx.by.name,
        action=entry.action,
        entity=entry.entity,
        key=entry.key,
        before=_json(entry.before),
        after=_json(entry.after),
        records=entry.records,
        request_id=tx.by.request_id,
        spans=_json(entry.spans),
        batch=entry.batch,
    )


async def complete_changes(db: Database) -> None:
    """Let the record have all that is committed by now. On a full disk it is read as it is."""
    with suppress(StorageFull):
        await db.order_changes()


def new_batch() -> int:
    """Return a number for the old rows of one write. It grows with time, so that they lie behind those of others."""
    return now() * 1000 + randrange(1000)  # noqa: S311 - tells apart who writes in one microsecond


async def find_batch(db: Database, change_id: int) -> int:
    """Return under which number the old rows of a change are kept; NO_BATCH where it has none. Raises NotFound."""
    await complete_changes(db)
    row = await db.one("SELECT coalesce(batch, 0) FROM changes WHERE id = :id", id=change_id)
    if row is None:
        raise no_change(change_id)
    return int(row[0])


def no_change(change_id: object) -> NotFound:
    """Return the refusal for an id that no change has."""
    return NotFound(f"No change has the id {change_id}.", hint="GET /sprocketFactory/v1/changes lists them.")


def _raw(text: str | None) -> Raw | None:
    return None if text is None else Raw(text.encode())


def _json(thing: object) -> str | None:
    return None if thing is None else encode(thing).decode()
