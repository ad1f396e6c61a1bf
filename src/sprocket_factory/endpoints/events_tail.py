"""The end of the record of changes, read once in this process for all who follow it.

One task reads on a few times a second, as long as there are followers, and never waits for any of them. What it has
read is kept for a while; each follower takes it from there at its own pace, and who falls behind what is kept is sent
away. It comes back with the last id it has, and gets what it missed from the database.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from time import monotonic
from typing import NamedTuple

from sprocket_factory.access.limits import Places
from sprocket_factory.database import Database
from sprocket_factory.entities.change import Change
from sprocket_factory.entities.change_feed import NotKept, find_last_position, read_feed
from sprocket_factory.entities.production_change import spans_of
from sprocket_factory.entities.version import encode
from sprocket_factory.errors import Busy, Refusal
from sprocket_factory.observe import log
from sprocket_factory.observe_metrics import event_clients

POLL_SECONDS = 0.2
"""So often is looked for more; it costs a query of one row, and on PostgreSQL another one."""

POLL_SHARE = 3
"""A pause is at least so many times as long as the look before it."""

MAX_POLL_SECONDS = 2

RETRY_SECONDS = 1
"""A database that does not answer is asked so often."""

PAGE = 100
"""Changes that are read at once. One change may have an event for each factory."""

MAX_KEPT = 10_000
"""Events, of 130 bytes each."""

MAX_AT_ONCE = 200
"""Events that are given to a follower at once: what its client has not taken yet waits in memory."""

RETRY_MILLISECONDS = 1000
"""So long a client waits before it comes back."""

ALL = 2**63
"""The place behind every event of a change."""


class Cursor(NamedTuple):
    """How much of the record somebody has seen: all before a position, and of the change there so many events."""

    position: int
    place: int = ALL

    def as_id(self) -> bytes:
        """Return it as the id of an event: a position alone says that all of that change was seen."""
        return b"%d" % self.position if self.place == ALL else b"%d.%d" % self

    @property
    def seen_whole(self) -> int:
        """The position of the last change of which nothing is missing."""
        return self.position if self.place == ALL else self.position - 1


class Event(NamedTuple):
    """Which records of one factory one write has touched."""

    cursor: Cursor
    """Of who has seen this one and all before it."""
    text: bytes


def events_of(change: Change) -> list[Event]:
    """Return the events of a change: one for each factory whose production it has touched, so there may be none.

    Each has an id of its own, or a client that was cut off between two of them would miss one or see one twice.
    """
    spans = spans_of(change)
    cursors = [Cursor(change.id, place) for place in range(1, len(spans))] + [Cursor(change.id)]
    return [
        Event(cursor, b"event: production\nid: %b\ndata: %b\n\n" % (cursor.as_id(), encode(span)))
        for cursor, span in zip(cursors, spans, strict=False)
    ]


def _together(events: Sequence[Event]) -> tuple[Cursor, bytes]:
    return events[-1].cursor, b"".join(event.text for event in events)


class Tail:
    """The last events of the record: all behind `first` and up to `last`."""

    def __init__(self, position: int) -> None:
        self.first = self.last = Cursor(position)
        self.is_over = False
        """Whether nothing is added any more."""
        self._events: list[Event] = []

    def add(self, changes: Sequence[Change]) -> None:
        """Add the changes that follow, and let go of the oldest events where there are too many."""
        for change in changes:
            self._events += events_of(change)
        self.last = Cursor(changes[-1].id)
        surplus = len(self._events) - MAX_KEPT
        if surplus > 0:
            self.first = self._events[surplus - 1].cursor
            del self._events[:surplus]

    def behind(self, cursor: Cursor, most: int) -> list[Event]:
        """Return the events behind a cursor, up to so many."""
        begin = bisect_right(self._events, cursor, key=attrgetter("cursor"))
        return self._events[begin : begin + most]


class FellBehind(Exception):  # noqa: N818 - whoever follows comes back
    """What this follower has not seen yet is not kept any more."""


class Feed:
    """Reads on for those who follow, as long as there are any."""

    def __init__(self, database: Database, most: int) -> None:
        """Allow so many followers in all, and half of them to one caller."""
        self._database = database
        self._most = most
        self._places = Places(most, "You follow the events {} times already.", hint="Leave one of them first.")
        self._woken: set[asyncio.Event] = set()
        self._tail: Tail | None = None
        self._reading: asyncio.Task[None] | None = None

    @contextmanager
    def place_for(self, name: str) -> Iterator[asyncio.Event]:
        """Give this caller a place, and what is set when there may be more for it. Raises Busy."""
        if len(self._woken) >= self._most:
            raise Busy(f"{self._most} clients follow the events already.", hint="Try again later.")
        woken = asyncio.Event()
        with self._places.place_for(name):
            self._woken.add(woken)
            event_clients.count += 1
            try:
                yield woken
            finally:
                event_clients.count -= 1
                self._woken.discard(woken)
                if not self._woken:
                    self._stop()

    async def follow(self, cursor: Cursor | None, woken: asyncio.Event) -> AsyncGenerator[tuple[Cursor, bytes]]:
        """Give what is behind a cursor as text, each time with how much was seen then; no text where to wait.

        Args:
            cursor: What was seen before; None to begin now.
            woken: What `place_for` gave: it is set when there is no more to wait for.

        Raises:
            FellBehind: The follower is too slow.
            Refusal: The database's, at the beginning and until what was missed is read.
        """
        tail = await self._live_tail()
        is_known = cursor is None or tail.first <= cursor <= tail.last
        cursor = cursor or Cursor(await find_last_position(self._database))
        yield cursor, b"retry: %d\nid: %b\n\n" % (RETRY_MILLISECONDS, cursor.as_id())
        while not is_known or cursor < tail.first:
            try:
                changes = await read_feed(self._database, cursor.seen_whole, PAGE)
            except NotKept:
                changes = []
                cursor = Cursor(await find_last_position(self._database))
                yield cursor, b"event: reset\nid: %b\ndata: {}\n\n" % cursor.as_id()
            for change in changes:
                events = [event for event in events_of(change) if event.cursor > cursor]
                for begin in range(0, len(events), MAX_AT_ONCE):
                    yield _together(events[begin : begin + MAX_AT_ONCE])
                cursor = Cursor(change.id)
            if not changes and cursor < tail.first:
                return  # an older backup was restored, and the tail is not that of this record any more
            is_known = True
        while not tail.is_over:
            if cursor < tail.first:
                raise FellBehind
            woken.clear()
            events = tail.behind(cursor, MAX_AT_ONCE)
            cursor, text = _together(events) if events else (max(cursor, tail.last), b"")
            yield cursor, text

    async def _live_tail(self) -> Tail:
        """Return the end of the record, which is read on from now on. Raises what the database does."""
        if self._tail is None or self._tail.is_over:
            position = await find_last_position(self._database)
            if self._tail is None or self._tail.is_over:  # nobody else was faster
                self._tail = Tail(position)
                self._reading = asyncio.create_task(self._read_on(self._tail))
        return self._tail

    def _stop(self) -> None:
        if self._tail is not None and self._reading is not None:
            self._tail.is_over = True
            self._reading.cancel()

    async def _read_on(self, tail: Tail) -> None:
        try:
            while True:
                pause = await self._read(tail)
                await asyncio.sleep(pause)
        except NotKept:
            pass  # an older backup was restored; who follows comes back with an id that is none, and is told
        except Exception:  # noqa: BLE001 - whoever follows would wait for ever
            log.exception("events cannot be read, and those who follow them are sent away")
        finally:
            tail.is_over = True
            self._wake()

    async def _read(self, tail: Tail) -> float:
        """Read on, and return how many seconds to wait before the next time."""
        began = monotonic()
        try:
            changes = await read_feed(self._database, tail.last.position, PAGE)
        except Refusal:
            return RETRY_SECONDS  # the database is away or busy, and has told so itself
        if changes:
            tail.add(changes)
            self._wake()
        if len(changes) == PAGE:
            return 0
        return min(max(POLL_SECONDS, POLL_SHARE * (monotonic() - began)), MAX_POLL_SECONDS)

    def _wake(self) -> None:
        for woken in self._woken:
            woken.set()
