"""What a thing says of itself: its members, but for those that were left out."""

from typing import Any

from msgspec import UNSET, Struct


def members_of(thing: Struct) -> dict[str, Any]:
    """Return the members that were given, by name."""
    members = {name: getattr(thing, name) for name in thing.__struct_fields__}
    return {name: value for name, value in members.items() if value is not UNSET}
