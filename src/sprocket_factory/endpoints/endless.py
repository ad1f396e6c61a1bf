"""Answers that have no end of their own: they are told when to end, and are no work under way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

ENDLESS = "endless"
"""Where a scope has those of its server."""


class Endless:
    """The answers of one server that go on until their readers leave."""

    def __init__(self) -> None:
        self.is_over = False
        """Whether all of them are to end."""
        self._woken: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._woken)

    @contextmanager
    def counted(self, woken: asyncio.Event) -> Iterator[None]:
        """Count an answer as one of them, and wake it up when they are to end."""
        self._woken.add(woken)
        try:
            yield
        finally:
            self._woken.discard(woken)

    def end(self) -> None:
        """Let all of them end, and those that are still to come."""
        self.is_over = True
        for woken in self._woken:
            woken.set()
