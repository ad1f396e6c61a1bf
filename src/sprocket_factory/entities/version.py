"""Versions: a thing's version changes whenever anything that is told of it does, so an update cannot be lost."""

from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from sprocket_factory.errors import Stale

encode = msgspec.json.Encoder().encode


class Whichever(Enum):
    """Stands for whichever version there is. It is no text, so nothing that anybody sends can be taken for it."""

    ANY = "any"


ANY: Final = Whichever.ANY


class Expected(NamedTuple):
    """What a writer expects to be stored. Each names versions, or with ANY whichever there is."""

    matching: frozenset[str | Whichever] | None = None
    """If given, what is stored must be one of these."""

    not_matching: frozenset[str | Whichever] = frozenset()
    """What is stored must be none of these."""


ANYTHING = Expected()


def digest_of(body: bytes) -> str:
    """Return a short digest of what is told: 16 hexadecimal digits."""
    return sha256(body).hexdigest()[:16]


def check_expected(expected: Expected, stored: msgspec.Struct | None) -> None:
    """Raise Stale unless what is stored, or its absence, is what was expected."""
    if expected is ANYTHING:
        return
    version = digest_of(encode(stored)) if stored is not None else ""
    if expected.matching is not None and (not version or expected.matching.isdisjoint({ANY, version})):
        raise Stale(
            f"Its version is {version} by now." if version else "Nothing is stored there by now.",
            hint="Read it again, and change what is there now.",
        )
    if version and not expected.not_matching.isdisjoint({ANY, version}):
        raise Stale(f"It is there already, in the version {version}.", hint="Read it, or leave If-None-Match out.")
