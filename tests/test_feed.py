"""The record of changes as a feed: whoever follows it, misses nothing and sees nothing twice, on both engines."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from functools import partial
from random import Random

import pytest
from msgspec import Struct

from feeds import Replay, Row, add_named, everything_behind, follow, opened, requests, stored_by
from sprocket_factory.database import Database, Transaction
from sprocket_factory.entities.change import Change, Span, find_batch
from sprocket_factory.entities.change_feed import NotKept, find_last_position, read_feed
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.instant import MINUTE, to_datetime
from sprocket_factory.entities.listing import Filter, Order, Query, read_list, stream_list
from sprocket_factory.entities.production import (
    OLD_PRODUCTION,
    PRODUCTION,
    CountChanges,
    Counts,
    Key,
    add_production,
    change_production,
    production_of,
    put_production,
    remove_production,
    remove_production_span,
)
from sprocket_factory.entities.production_change import spans_of
from sprocket_factory.entities.production_import import OnConflict, Spool, merge_production
from sprocket_factory.entities.version import encode
from sprocket_factory.errors import Refusal

MOMENT = 1_611_194_818_000_000

NOT_DRY = False

WRITERS = 8
WRITES = 40

ALL_RECORDS = "SELECT sprocket_production_actual, sprocket_production_goal, time, factory_id FROM production"

FACTORIES = (1, 2)
MOMENTS = [MOMENT + minute * MINUTE for minute in range(4)]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give an open database."""
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def other(database_url: str, engine: str, database: Database) -> AsyncIterator[Database]:
    """Give what another server writes to: the same database, where there may be several."""
    if engine == "sqlite":
        yield database
    else:
        async with opened(database_url) as other:
            yield other


class Writer:
    """Somebody who writes production in every way there is, over few records, so that many meet."""

    def __init__(self, database: Database, number: int, imports: dict[str, list[Row]]) -> None:
        self._database = database
        self._number = number
        self._random = Random(number)  # noqa: S311 - the same writes in each run
        self._imports = imports

    async def write(self) -> None:
        """Write so many times, whatever is refused."""
        for time in range(WRITES):
            with suppress(Refusal):
                await self._write_once(f"{self._number}-{time}")

    async def _write_once(self, request_id: str) -> None:
        pick = self._random.choice
        key = Key(pick(FACTORIES), pick(MOMENTS))
        counts = Counts(sprocket_production_actual=pick([1, 2, 3]), sprocket_production_goal=pick([1, 2]))
        write = partial(self._database.write, by="test", request_id=request_id)
        match pick(["add", "put", "put", "change", "remove", "remove span", "import", "import"]):
            case "add":
                await write(add_production, key, counts)
            case "put":
                await write(put_production, key, counts)
            case "change":
                await write(change_production, key, CountChanges(sprocket_production_actual=pick([1, 2, 3])))
            case "remove":
                await write(remove_production, key)
            case "remove span":
                since, until = sorted(self._random.sample([*MOMENTS, MOMENTS[-1] + 1], k=2))
                await write(remove_production_span, key.factory_id, since, until, NOT_DRY, alone=True)
            case _:
                await self._import(request_id)

    async def _import(self, request_id: str) -> None:
        pick = self._random.choice
        on_conflict: OnConflict = pick(["replace", "skip"])
        rows = [(pick([1, 2, 3]), pick([1, 2]), pick(MOMENTS), pick(FACTORIES)) for _ in range(4)]

        async def merge(tx: Transaction) -> None:
            """Merge, and tell what was stored: the factories are held, so nobody else writes production meanwhile."""
            for number in FACTORIES:
                await tx.lock("SELECT id FROM factories WHERE id = :id", id=number)
            there = [as_json(production_of(*row)) for row in await tx.all(ALL_RECORDS)]
            with closing(Spool()) as spool:
                for actual, goal, time, factory_id in rows:
                    spool.add(factory_id, time, actual, goal)
                spool.finish()
                await merge_production(tx, spool, on_conflict)
            sent = [as_json(production_of(*row)) for row in rows]
            self._imports[request_id] = stored_by(sent, on_conflict, there)

        await self._database.write(merge, by="test", request_id=request_id, alone=True)


def as_json(thing: Struct) -> Row:
    """Return a thing as the service tells it."""
    row: Row = json.loads(encode(thing))
    return row


async def old_rows(database: Database, change: Change) -> list[Row]:
    """Return the records that a change of many has replaced or removed."""
    batch = Filter("batch", "eq", (await find_batch(database, change.id),))
    query = Query((batch,), (Order("factory_id"), Order("time")), limit=1000)
    return [as_json(record) for record in await read_list(database, OLD_PRODUCTION, query)]


async def write_beside_a_follower(database: Database, other: Database) -> tuple[list[Change], dict[str, list[Row]]]:
    """Let several write at once, on two servers; return what a follower has seen meanwhile, and what was imported."""
    for number in FACTORIES:
        await database.write(add_factory, NewFactory(name=f"Factory {number}"), by="test")
    ended = asyncio.Event()
    following = asyncio.ensure_future(follow(database, ended))
    imports: dict[str, list[Row]] = {}
    writers = [Writer((database, other)[number % 2], number, imports) for number in range(WRITERS)]
    await asyncio.gather(*(writer.write() for writer in writers))
    ended.set()
    return await following, imports


async def test_a_follower_sees_every_change_once_while_several_write(database: Database, other: Database) -> None:
    """What it has seen, reading again and again from the last one on, is the record as it stands in the end."""
    seen, _ = await write_beside_a_follower(database, other)
    record = [row[0] for row in await database.all("SELECT id FROM changes ORDER BY id")]

    assert record == [change.id for change in seen]
    assert len(record) > WRITERS * WRITES / 3


async def test_the_record_replayed_gives_what_is_stored(database: Database, other: Database) -> None:
    """Nothing is changed without an entry, and the changes of each record stand in the order in which it had them."""
    seen, imports = await write_beside_a_follower(database, other)
    replay = Replay()
    for change in seen:
        rows = await old_rows(database, change)
        replay.go_on(as_json(change), rows, imports.get(change.request_id, []))
    query = Query(order=(Order("factory_id"), Order("time")))
    stored = [as_json(record) async for chunk in stream_list(database, PRODUCTION, query) for record in chunk]

    assert stored == [replay.things[where] for where in sorted(replay.things) if where[0] == "production"]
    assert any(change.action == "remove" and change.spans for change in seen)


async def test_a_follower_goes_on_from_any_position(database: Database) -> None:
    """The changes behind a position are those, in their order, and no more than are asked for."""
    for number in range(5):
        await add_named(database, str(number))
    positions = [change.id for change in await everything_behind(database, 0)]

    assert [["1", "2", "3", "4"], ["3", "4"], []] == [
        requests(await read_feed(database, positions[place], 10)) for place in (0, 2, 4)
    ]
    assert ["1", "2"] == requests(await read_feed(database, positions[0], 2))
    assert positions[-1] == await find_last_position(database)


async def test_a_feed_begins_before_its_first_change(database: Database) -> None:
    """Who comes first begins at 0 and finds what is written then."""
    begin, nothing = await find_last_position(database), await read_feed(database, 0, 10)
    await add_named(database, "first")

    assert (0, [], ["first"]) == (begin, nothing, requests(await read_feed(database, begin, 10)))


async def forget_until(tx: Transaction, position: int) -> None:
    """Remove the changes up to a position, as pruning does."""
    await tx.run("DELETE FROM changes WHERE id <= :position", position=position)


async def test_a_follower_who_was_away_too_long_is_told_so(database: Database) -> None:
    """Where something behind his position is gone he learns that, instead of missing it unawares."""
    for number in range(5):
        await add_named(database, str(number))
    positions = [0, *(change.id for change in await everything_behind(database, 0))]
    await database.write(forget_until, positions[3], by="test")

    for position in positions[:3]:
        with pytest.raises(NotKept):
            await read_feed(database, position, 10)
    assert [["3", "4"], ["4"], []] == [requests(await read_feed(database, position, 10)) for position in positions[3:]]


async def test_a_follower_who_knows_the_last_change_of_an_empty_record_goes_on(database: Database) -> None:
    """Where everything is gone, whoever has seen everything has missed nothing, and nobody else."""
    for number in range(3):
        await add_named(database, str(number))
    last = await find_last_position(database)
    await database.write(forget_until, last, by="test")

    assert (last, []) == (await find_last_position(database), await read_feed(database, last, 10))
    with pytest.raises(NotKept):
        await read_feed(database, last - 1, 10)


async def test_a_position_that_was_never_given_is_none_of_this_feed(database: Database) -> None:
    """It comes from before a backup was restored, or from elsewhere: what lies behind it cannot be known."""
    await add_named(database, "one")
    last = await find_last_position(database)

    with pytest.raises(NotKept):
        await read_feed(database, last + 1, 10)


async def test_a_change_says_which_records_it_touched(database: Database) -> None:
    """One record by itself, many by factory, and none where it is of something else."""
    await database.write(add_factory, NewFactory(name="Sheffield"), by="test")
    counts = Counts(sprocket_production_actual=1, sprocket_production_goal=2)
    await database.write(put_production, Key(1, MOMENT + 1), counts, by="test")
    await database.write(remove_production_span, 1, MOMENT, MOMENT + 2, NOT_DRY, alone=True, by="test")
    moment = to_datetime(MOMENT + 1)

    assert [[], [Span(1, moment, moment, 1)], [Span(1, moment, moment, 1)]] == [
        spans_of(change) for change in await everything_behind(database, 0)
    ]
