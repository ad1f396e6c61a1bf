"""Names that people give: to factories, to keys."""

import unicodedata
from typing import Annotated

from msgspec import Meta

from sprocket_factory.errors import Invalid

MAX_NAME_LENGTH = 100

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="No control characters, no white space at its ends, and something that can be seen.",
        extra_json_schema={"format": "factory-name"},
    ),
]

_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Zl", "Zp"})
# Letters, numbers, punctuation and symbols; and what is too new for this Python's tables.
_SEEN = ("L", "N", "P", "S", "Cn")
# Letters and symbols that show nothing.
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
# Marks that turn the direction of text around can make a name look like another.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_name(name: str, whose: str) -> str:
    """Return the name if it may be one: 1 to 100 characters, no controls, not blank. Raises Invalid.

    Args:
        name: The name.
        whose: What it is called in the refusal: "A factory's name".
    """
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise Invalid(f"{whose} has 1 to {MAX_NAME_LENGTH} characters, this one has {len(name)}.")
    if name != name.strip():
        raise Invalid(f"{whose} neither begins nor ends with white space.")
    for place, character in enumerate(name, 1):
        if (
            unicodedata.category(character) in _FORBIDDEN_CATEGORIES
            or character in _BIDI_CONTROLS
            or _is_noncharacter(ord(character))
        ):
            raise Invalid(f"{whose} has no control characters; character {place} is U+{ord(character):04X}.")
    if not any(unicodedata.category(character).startswith(_SEEN) and character not in _BLANKS for character in name):
        raise Invalid(f"{whose} has a character that can be seen.")
    return name


def _is_noncharacter(code: int) -> bool:
    """Return whether Unicode promises that this will never be a character."""
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # noqa: PLR2004 - as Unicode has it
