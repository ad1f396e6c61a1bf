"""What the doctor finds."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing the doctor has looked at."""

    level: Literal["ok", "note", "wrong"]
    what: str
    advice: str = ""


def ok(what: str) -> Finding:
    """Return that this is as it should be."""
    return Finding("ok", what)


def note(what: str, advice: str) -> Finding:
    """Return that this may be meant, and what else might be."""
    return Finding("note", what, advice)


def wrong(what: str, advice: str) -> Finding:
    """Return that this is not as it should be, and what to do."""
    return Finding("wrong", what, advice)
