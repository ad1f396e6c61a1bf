"""The refusals: what the service understands and says no to, or not now. A leaf that imports nothing of ours.

A refusal carries facts for the caller and, as its hint, what to do next. endpoints/problems.py says which
status each becomes over HTTP; on the command line the sentence itself is the answer.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that is wrong with what the caller sent.

    `pointer` is a JSON pointer into the body (RFC 6901), or the name of a parameter; `row` counts data rows from 1.
    """

    pointer: str
    detail: str
    row: int | None = None


MAX_SHOWN = 60


def shown(text: str) -> str:
    """Return what a caller sent as a refusal repeats it: quoted, escaped, and no longer than a reader needs."""
    return ascii(text) if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]!a}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known name nearest to this one, or nothing where none is near."""
    by_folded = {one.casefold(): one for one in known}
    return "".join(f" Did you mean {by_folded[match]}?" for match in get_close_matches(name.casefold(), by_folded, n=1))


class Refusal(Exception):  # noqa: N818 - these are answers, not errors of the program
    """The service says no. `detail` is a whole sentence; `hint` says what to do; `faults` say where it is wrong."""

    def __init__(
        self, detail: str, *, hint: str = "", faults: Sequence[Fault] = (), faults_total: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.faults = tuple(faults)
        self.faults_total = len(self.faults) if faults_total is None else faults_total

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}".strip()


class Unreadable(Refusal):
    """What was sent cannot be read at all."""


class Unauthenticated(Refusal):
    """Who asks is not known, and has to be."""

    challenge = "Bearer"


class WrongCredentials(Unauthenticated):
    """The credentials that were sent are none. It is not said why: whoever guesses would learn from it."""

    challenge = 'Bearer error="invalid_token"'


class Forbidden(Refusal):
    """Who asks is known, and may not do this."""


class TooMany(Refusal):
    """This was asked too often."""

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail, hint="Wait as long as Retry-After says.")
        self.retry_after_seconds = retry_after_seconds


class Stalled(Refusal):
    """What was being sent did not come in time."""


class NotFound(Refusal):
    """There is no such thing."""


class NotAcceptable(Refusal):
    """None of the media types the caller accepts can be given."""


class Conflict(Refusal):
    """What is stored says otherwise."""


class Stale(Refusal):
    """What is stored is not the version that the caller expected."""


class TooLarge(Refusal):
    """What was sent is over a limit."""


class UnsupportedMediaType(Refusal):
    """What was sent is not of a kind that is read here."""


class Invalid(Refusal):
    """What was sent can be read, but breaks a rule."""


class NotNow(Refusal):
    """A refusal that may be otherwise in a moment: sending the same again is right."""

    retry_after_seconds = 1


class Busy(NotNow):
    """Others were first, and the wait would be too long."""


class TooSlow(NotNow):
    """The answer would take longer to find than is allowed."""

    retry_after_seconds = 10


class Unavailable(NotNow):
    """The database does not answer, or the issuer of an access token."""

    retry_after_seconds = 2


class OutcomeUnknown(NotNow):
    """The connection was lost while a write was being made durable, and nobody can say whether it was."""


class StorageFull(Refusal):
    """The database cannot grow, or cannot be written to at all."""


class Unusable(Refusal):
    """The database, or a backup of it, cannot be used as it is, so the program does not start or go on."""


class Damaged(Unusable):
    """No sense can be made of the database's file."""
