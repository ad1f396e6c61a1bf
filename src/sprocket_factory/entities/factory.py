"""Factories: where sprockets are made."""

import unicodedata

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.errors import Invalid, NotFound

MAX_NAME_LENGTH = 100

_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
# Marks that turn the direction of text around can make a name look like another.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_factory_name(name: str) -> str:
    """Return the name if it may be one: 1 to 100 characters, no controls, not blank. Raises Invalid."""
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise Invalid(f"A factory's name has 1 to {MAX_NAME_LENGTH} characters, this one has {len(name)}.")
    if name != name.strip():
        raise Invalid("A factory's name neither begins nor ends with white space.")
    for place, character in enumerate(name, 1):
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _BIDI_CONTROLS:
            raise Invalid(f"A factory's name has no control characters; character {place} is U+{ord(character):04X}.")
    return name


async def check_factory_exists(db: Reader, factory_id: int) -> None:
    """Raise NotFound unless there is a factory with this id."""
    if await db.one("SELECT 1 FROM factories WHERE id = :id", id=factory_id) is None:
        raise no_factory(factory_id)


async def ensure_factory(tx: Transaction, name: str, time_zone: str = "UTC") -> tuple[int, bool]:
    """Return the id of the factory with this name, and whether it had to be created."""
    row = await tx.one("SELECT id FROM factories WHERE name = :name", name=name)
    if row is not None:
        return row[0], False
    (factory_id,) = await tx.first(
        "INSERT INTO factories (name, time_zone) VALUES (:name, :time_zone) RETURNING id",
        name=name,
        time_zone=time_zone,
    )
    return factory_id, True


def no_factory(factory_id: object) -> NotFound:
    """Return the refusal for an id that no factory has."""
    return NotFound(f"No factory has the id {factory_id}.")
