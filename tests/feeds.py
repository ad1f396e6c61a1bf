"""What the tests of the feed share: followers, writes that stay open, and the record of changes replayed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from operator import itemgetter
from typing import Any

from sprocket_factory.database import Database, Transaction, open_database
from sprocket_factory.entities.change import Change
from sprocket_factory.entities.change_feed import read_feed
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket

Row = dict[str, Any]

Where = tuple[str, str]
"""Of which entity a thing is, and its key."""

NEW = NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=25.4)

PAGE = 7
"""A follower that reads few changes at a time has to go on from each of them."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Give an open database."""
    database = await open_database(url)
    try:
        yield database
    finally:
        await database.close()


async def everything_behind(database: Database, position: int) -> list[Change]:
    """Return all changes behind a position, as a follower reads them: page after page, each from the last one on."""
    changes: list[Change] = []
    while page := await read_feed(database, position, PAGE):
        changes += page
        position = page[-1].id
    return changes


async def follow(database: Database, ended: asyncio.Event) -> list[Change]:
    """Return what a follower sees who reads again and again until everything has ended, and once more then."""
    seen: list[Change] = []
    is_last = False
    while not is_last:
        is_last = ended.is_set()
        seen += await everything_behind(database, seen[-1].id if seen else 0)
        await asyncio.sleep(0.005)
    return seen


async def add_named(database: Database, name: str) -> None:
    """Add a sprocket, in a write that tells itself from others by its request."""
    await database.write(add_sprocket, NEW, by="test", request_id=name)


class Held:
    """A write that has put its entry into the record, and whose transaction stays open until it is told to end."""

    def __init__(self, database: Database, name: str) -> None:
        self._end = asyncio.Event()
        self._has_written = asyncio.Event()
        self._write = asyncio.ensure_future(database.write(self._add, by="test", request_id=name))

    async def begin(self) -> None:
        """Wait until its entry is written."""
        await self._has_written.wait()

    async def end(self) -> None:
        """Let it be committed."""
        self._end.set()
        await self._write

    async def _add(self, tx: Transaction) -> None:
        await add_sprocket(tx, NEW)
        self._has_written.set()
        await self._end.wait()


def requests(changes: Iterable[Change]) -> list[str]:
    """Return for which requests changes were made."""
    return [change.request_id for change in changes]


class Replay:
    """Everything that the record of changes tells of, from its first entry on.

    Each entry has to fit what all before it have left: had anything been changed without one, it would show.
    """

    def __init__(self) -> None:
        self.things: dict[Where, Row] = {}

    def go_on(self, change: Row, old_rows: Iterable[Row], new_rows: Iterable[Row]) -> None:
        """Do again what an entry tells. One of many records has no new values: they come with it, if it had any."""
        if change["spans"] is None:
            self._change_one((change["entity"], change["key"]), change["before"], change["after"])
            return
        old, new = ({where_of(row): row for row in rows} for rows in (old_rows, new_rows))
        touched = old | new
        assert old == {where: self.things[where] for where in touched if where in self.things}
        assert len(touched) == change["records"]
        assert spans_of(touched.values()) == sorted(change["spans"], key=itemgetter("factory_id"))
        self.things = {where: row for where, row in self.things.items() if where not in touched} | new

    def _change_one(self, where: Where, before: Row | None, after: Row | None) -> None:
        assert before == self.things.pop(where, None)
        assert before != after
        if after is not None:
            self.things[where] = after


def stored_by(rows: Iterable[Row], on_conflict: str, there: Iterable[Row]) -> list[Row]:
    """Return which of many rows are stored, where these records are there."""
    before = {where_of(row): row for row in there}
    after = before.copy()
    for row in rows:
        if on_conflict == "replace" or where_of(row) not in after:
            after[where_of(row)] = row
    return [row for where, row in after.items() if before.get(where) != row]


def where_of(record: Row) -> Where:
    """Return what a record of production is called in the record of changes."""
    return "production", f"{record['factory_id']}/{record['time']}"


def spans_of(records: Iterable[Row]) -> list[Row]:
    """Return what an entry has to say of these records, by factory."""
    times: dict[int, list[str]] = {}
    for record in records:
        times.setdefault(record["factory_id"], []).append(record["time"])
    return [
        {
            "factory_id": factory_id,
            "from": min(of_factory, key=datetime.fromisoformat),
            "to": max(of_factory, key=datetime.fromisoformat),
            "records": len(of_factory),
        }
        for factory_id, of_factory in sorted(times.items())
    ]
