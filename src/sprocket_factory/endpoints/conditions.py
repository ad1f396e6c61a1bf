"""Conditional requests (RFC 9110, 13): what a caller says of the version that it knows."""

import re

from litestar.types import Scope

from sprocket_factory.entities.version import ANY, ANYTHING, Expected, Whichever
from sprocket_factory.errors import Fault, Invalid, shown

_ETAG = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_NEXT = re.compile(rb'[ \t]*+(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*+)"[ \t]*+)?(?:,|$)')
"""One of a list. They are matched one after the other: a pattern for the whole list could be made to try for hours."""


def is_known(scope: Scope, etag: bytes) -> bool:
    """Return whether a reader says that it has this version already. One that cannot be read is not this one."""
    for name, value in scope["headers"]:
        if name == b"if-none-match" and (
            value == etag or value.strip() == b"*" or etag[1:-1] in {tag for _, tag in _ETAG.findall(value)}
        ):
            return True
    return False


def expected_of(scope: Scope) -> Expected:
    """Return what a writer expects to be stored. Raises Invalid where a header is no list of ETags."""
    matching = _versions(scope, b"if-match", strong=True)
    not_matching = _versions(scope, b"if-none-match", strong=False)
    if matching is None and not_matching is None:
        return ANYTHING
    return Expected(matching, not_matching or frozenset())


def _versions(scope: Scope, header: bytes, *, strong: bool) -> frozenset[str | Whichever] | None:
    values = [value for name, value in scope["headers"] if name == header]
    if not values:
        return None
    if [value.strip() for value in values] == [b"*"]:
        return frozenset({ANY})
    versions: set[str | Whichever] = set()
    text = b",".join(values)
    place = 0
    while not place or place < len(text):
        found = _NEXT.match(text, place)
        if found is None or b'"' not in text:
            detail = f"{shown(text.decode('latin-1'))} is no list of ETags."
            hint = 'Send one as it came, with its quotes: "0123456789abcdef".'
            raise Invalid(detail, hint=hint, faults=[Fault(header.decode().title(), detail)])
        weak, tag = found.groups()
        if tag is not None and not (weak and strong):
            versions.add(tag.decode("latin-1"))
        place = found.end()
    return frozenset(versions)
