"""Sprockets: the catalogue of what can be made."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.change import Action, Entry, enter
from sprocket_factory.entities.listing import Listing
from sprocket_factory.entities.members import members_of
from sprocket_factory.entities.version import ANYTHING, Expected, check_expected
from sprocket_factory.errors import NotFound

Length = Annotated[float, Meta(gt=0, le=1e6, description="Finite and over 0, in the factory's own unit of length.")]
Teeth = Annotated[int, Meta(ge=3, le=10_000, description="Number of teeth.")]


class NewSprocket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sprocket type as its maker describes it."""

    teeth: Teeth
    pitch_diameter: Length
    outside_diameter: Length
    pitch: Length


class SprocketChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a sprocket type; what is left out stays."""

    teeth: Teeth | UnsetType = UNSET
    pitch_diameter: Length | UnsetType = UNSET
    outside_diameter: Length | UnsetType = UNSET
    pitch: Length | UnsetType = UNSET


class Sprocket(Struct, frozen=True, gc=False):
    """A sprocket type of the catalogue."""

    id: Id
    teeth: Teeth
    pitch_diameter: Length
    outside_diameter: Length
    pitch: Length


SPROCKETS = Listing(
    "sprockets",
    {
        "id": "integer",
        "teeth": "integer",
        "pitch_diameter": "number",
        "outside_diameter": "number",
        "pitch": "number",
    },
    key=("id",),
    make=Sprocket,
)

_FIND = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets WHERE id = :id"


async def find_sprocket(db: Reader, sprocket_id: int) -> Sprocket:
    """Return the sprocket with this id. Raises NotFound."""
    row = await db.one(_FIND, id=sprocket_id)
    if row is None:
        raise no_sprocket(sprocket_id)
    return Sprocket(*row)


async def add_sprocket(tx: Transaction, new: NewSprocket) -> Sprocket:
    """Add a sprocket to the catalogue and return it with its id."""
    row = await tx.first(
        "INSERT INTO sprockets (teeth, pitch_diameter, outside_diameter, pitch)"
        " VALUES (:teeth, :pitch_diameter, :outside_diameter, :pitch)"
        " RETURNING id, teeth, pitch_diameter, outside_diameter, pitch",
        **members_of(new),
    )
    sprocket = Sprocket(*row)
    await enter(tx, Entry("create", "sprocket", str(sprocket.id), after=sprocket))
    return sprocket


async def replace_sprocket(
    tx: Transaction, sprocket_id: int, new: NewSprocket, expected: Expected = ANYTHING
) -> Sprocket:
    """Replace what is stored of the sprocket with this id. Raises NotFound or Stale."""
    return await _store(tx, "replace", await _expect(tx, sprocket_id, expected), new)


async def change_sprocket(
    tx: Transaction, sprocket_id: int, changes: SprocketChanges, expected: Expected = ANYTHING
) -> Sprocket:
    """Change some of what is stored of the sprocket with this id. Raises NotFound or Stale."""
    return await _store(tx, "update", await _expect(tx, sprocket_id, expected), changes)


async def remove_sprocket(tx: Transaction, sprocket_id: int, expected: Expected = ANYTHING) -> None:
    """Take the sprocket with this id out of the catalogue. Raises NotFound or Stale."""
    stored = await _expect(tx, sprocket_id, expected)
    await tx.run("DELETE FROM sprockets WHERE id = :id", id=sprocket_id)
    await enter(tx, Entry("remove", "sprocket", str(sprocket_id), before=stored))


async def add_missing_sprockets(tx: Transaction, wanted: Iterable[NewSprocket]) -> tuple[int, int]:
    """Store each type as often as it is wanted and no more; return how many were created and how many were there.

    Types in a file have no identity: equal measures are the same type.
    """
    # Two who load at once would both find a type missing. Of two who change one row the second is run again.
    await tx.run("UPDATE migrations SET name = name WHERE number = 1")
    created = unchanged = 0
    for new, times in Counter(wanted).items():
        (stored,) = await tx.first(
            "SELECT count(*) FROM sprockets WHERE teeth = :teeth AND pitch_diameter = :pitch_diameter"
            " AND outside_diameter = :outside_diameter AND pitch = :pitch",
            **members_of(new),
        )
        for _ in range(times - stored):
            await add_sprocket(tx, new)
        created += max(0, times - stored)
        unchanged += min(times, stored)
    return created, unchanged


def no_sprocket(sprocket_id: object) -> NotFound:
    """Return the refusal for an id that no sprocket has."""
    return NotFound(f"No sprocket has the id {sprocket_id}.", hint="GET /sprocketFactory/v1/sprockets lists them.")


async def _expect(tx: Transaction, sprocket_id: int, expected: Expected) -> Sprocket:
    """Return the sprocket as nobody else can change it now. Raises NotFound or Stale."""
    row = await tx.lock(_FIND, id=sprocket_id)
    if row is None:
        raise no_sprocket(sprocket_id)
    stored = Sprocket(*row)
    check_expected(expected, stored)
    return stored


async def _store(tx: Transaction, action: Action, before: Sprocket, changes: Struct) -> Sprocket:
    """Store what is different about a sprocket. Where nothing is, nothing is written."""
    after = replace(before, **members_of(changes))
    if after == before:
        return before
    await tx.run(
        "UPDATE sprockets SET teeth = :teeth, pitch_diameter = :pitch_diameter,"
        " outside_diameter = :outside_diameter, pitch = :pitch WHERE id = :id",
        **members_of(after),
    )
    await enter(tx, Entry(action, "sprocket", str(after.id), before, after))
    return after
