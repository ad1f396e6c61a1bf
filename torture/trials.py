"""What a figure is asked for, and what it answers."""

from pathlib import Path
from typing import NamedTuple


class Trial(NamedTuple):
    """How a figure is to be tried."""

    folder: Path
    """An empty folder for files that ought to lie on a disk."""

    is_quick: bool
    """In its small form."""

    minutes: float
    """How long the hour of mixed load is."""

    is_weakened: bool
    """Sync less than the service does, to see that this shows."""


class Result(NamedTuple):
    """What came of it: what was counted, by name, and what is wrong, which is nothing if the figure holds."""

    counts: dict[str, str]
    wrong: str = ""
