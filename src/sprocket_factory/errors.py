"""The refusals: what the service understands and says no to, or not now. A leaf that imports nothing of ours.

A refusal carries facts for the caller and, as its hint, what to do next. endpoints/problems.py says which
status each becomes over HTTP; on the command line the sentence itself is the answer.
"""

from collections.abc import Sequence
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


class NotFound(Refusal):
    """There is no such thing."""


class NotAcceptable(Refusal):
    """None of the media types the caller accepts can be given."""


class Conflict(Refusal):
    """What is stored says otherwise."""


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


class Unavailable(NotNow):
    """The database does not answer."""

    retry_after_seconds = 2


class StorageFull(Refusal):
    """The database cannot grow, or cannot be written to at all."""


class Unusable(Refusal):
    """The database cannot be used as it is, so the program does not start."""
