"""What clients may take of the server, and whether one who should move bytes does."""

from typing import NamedTuple


class Limits(NamedTuple):
    """What clients may take of the server. settings.py says what each is for."""

    max_connections: int
    max_requests: int
    max_header_bytes: int
    max_headers: int
    head_seconds: int
    keep_alive_seconds: int
    stalled_seconds: int
    min_bytes_per_second: int


class Pace:
    """How far somebody who should move bytes may still fall behind: by `stalled_seconds` at the least rate."""

    def __init__(self, limits: Limits, moved: int) -> None:
        self._full = limits.stalled_seconds
        self._rate = limits.min_bytes_per_second
        self._left = float(self._full)
        self._moved = moved

    def is_lost(self, moved: int) -> bool:
        """Take note of what has moved in all, a second after the last time; return whether it is too little."""
        self._left = min(self._full, self._left - 1 + (moved - self._moved) / self._rate)
        self._moved = moved
        return self._left <= 0
