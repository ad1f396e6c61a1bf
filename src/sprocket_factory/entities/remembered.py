"""What was made before is found again, where that is asked for tens of thousands of times in an answer."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 100_000


class Remembered(dict[K, V]):
    """What a function makes of each key, of up to so many; then all is forgotten.

    `lru_cache` keeps an order as well, and takes three times as long to find something.
    """

    def __init__(self, make: Callable[[K], V], most: int = MOST) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: K) -> V:
        """Make what is not there yet. Raises as the function."""
        if len(self) >= self._most:
            self.clear()
        made = self[key] = self._make(key)
        return made
