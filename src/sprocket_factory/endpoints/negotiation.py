"""Which media type a caller wants, by RFC 9110: the most specific range that names a type says how much it is liked."""

import re
from collections.abc import Sequence

from litestar.types import Scope

_RANGE = re.compile(r"\s*([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)\s*(?:;(.*))?", re.ASCII)
_QUALITY = re.compile(r"(?:^|;)\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.ASCII)


def preferred_type(scope: Scope, offered: Sequence[str]) -> str | None:
    """Return the offered media type that the caller likes best, or None where none is acceptable.

    The first of the offered wins a tie. A range that cannot be read counts for nothing.
    """
    headers = [value for name, value in scope["headers"] if name == b"accept"]
    if not headers or headers in ([b"*/*"], [offered[0].encode()]):
        return offered[0]
    ranges = [match for match in map(_RANGE.fullmatch, b",".join(headers).decode("latin-1").split(",")) if match]
    liking = {media_type: _liking(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: liking[media_type])
    return best if liking[best] > 0 else None


def accept_of(scope: Scope) -> str:
    """Return what the caller accepts, as it was said."""
    return b", ".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")


def _liking(media_type: str, ranges: "Sequence[re.Match[str]]") -> float:
    main, _, sub = media_type.partition("/")
    # From the least specific, so that the most specific has the last word.
    liking = 0.0
    for wanted in ("*/*", f"{main}/*", f"{main}/{sub}"):
        for match in ranges:
            if f"{match[1]}/{match[2]}".lower() == wanted:
                liking = _quality(match[3] or "")
    return liking


def _quality(parameters: str) -> float:
    if not re.search(r"(?:^|;)\s*[qQ]\s*=", parameters):
        return 1.0
    match = _QUALITY.search(parameters)
    return float(match[1]) if match else 0.0
