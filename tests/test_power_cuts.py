"""The power fails while the service writes: what was acknowledged is there, and it starts and goes on by itself.

The database is opened and written to as the endpoints do it, on a disk that is simulated (simulated_disk.py). How many
times the power is cut POWER_CUTS in the environment says; with SYNCHRONOUS=normal it is tried what SQLite would lose by
that setting, which is less than what the service promises.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from attainments import recounted_rollups, stored_rollups
from simulated_disk import SimulatedDisk, simulated_disk
from sprocket_factory.database import Database, open_database, sqlite_opening
from sprocket_factory.database.checking import look_into_sqlite
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.production import (
    Counts,
    Key,
    put_production,
    remove_production,
    remove_production_span,
)
from sprocket_factory.entities.production_import import NO_IDS, Spool, merge_production
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.errors import Refusal, Unusable

CUTS = int(os.environ.get("POWER_CUTS", "40"))

SYNCHRONOUS = os.environ.get("SYNCHRONOUS", "")
"""What SQLite is told of syncing; by default what the service tells it."""

SEED = 20_210_121

CUTS_OF_A_LIFE = 20
"""After so many it is begun with an empty disk, so that the power is cut while a database is made as well."""

LIVES_TO_SHOW_IT = 4
"""Of the lives in which less is synced about one of 300 loses nothing: the power fails before much is written."""

ODDS_OF_REMOVING = 0.2

MOST_MOMENTS = 1000
"""Within so many writes to the disk the power fails: a few groups of writes take them."""

MINUTE = 60_000_000
BEGIN = 1_611_194_400_000_000

ROWS = 60
"""Of an import: more than an hour, so that it touches several slots."""

FACTORIES = (1, 2, 3)

DRY_RUN = False

HALF = -1
"""Stands for what must never be seen: some rows of an import, and not the others."""


class Writer:
    """Somebody who writes something that nobody else writes, a number each time higher or 0 for nothing."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.value = 0
        """What he knows to be stored."""
        self.under_way: int | None = None
        """What he wanted to be stored and has heard nothing of."""
        self.acknowledged = 0
        self.unanswered = 0
        """How many writes were found to be stored without an answer."""
        self._last = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.number}"

    async def write_on(self, database: Database, random: Random) -> None:
        """Write one thing after the other until one is refused."""
        with suppress(Refusal):
            while True:
                self.under_way = self.choose(random)
                await self.store(database, self.under_way)
                self.value, self.under_way = self.under_way, None
                self.acknowledged += 1

    def choose(self, random: Random) -> int:
        """Return what to store next."""
        if self.value and random.random() < ODDS_OF_REMOVING:
            return 0
        self._last += 1
        return self._last

    async def store(self, database: Database, value: int) -> None:
        """Store it."""
        raise NotImplementedError

    async def look(self, database: Database) -> int:
        """Return what is stored."""
        raise NotImplementedError


class RecordWriter(Writer):
    """Writes one record, and removes it."""

    async def store(self, database: Database, value: int) -> None:
        """PUT or DELETE."""
        key = Key(FACTORIES[0], BEGIN + self.number * MINUTE)
        if value:
            await database.write(put_production, key, counts(value), by="test")
        else:
            await database.write(remove_production, key, by="test")

    async def look(self, database: Database) -> int:
        """Return its count."""
        return await one_value(database, FACTORIES[0], BEGIN + self.number * MINUTE, rows=1)


class ImportWriter(Writer):
    """Writes many records of one factory at once, and removes them."""

    async def store(self, database: Database, value: int) -> None:
        """POST many, in place of those that are stored, or DELETE a span."""
        factory_id = FACTORIES[self.number]
        if not value:
            span = (factory_id, BEGIN, BEGIN + ROWS * MINUTE, DRY_RUN)
            await database.write(remove_production_span, *span, by="test", alone=True)
            return
        with closing(Spool()) as spool:
            for row in range(ROWS):
                spool.add(factory_id, BEGIN + row * MINUTE, value, value)
            await database.write(merge_production, spool, "replace", NO_IDS, by="test", alone=True)

    async def look(self, database: Database) -> int:
        """Return the count of all of them."""
        return await one_value(database, FACTORIES[self.number], BEGIN, rows=ROWS)


class SprocketWriter(Writer):
    """Adds to the catalogue."""

    def choose(self, random: Random) -> int:  # noqa: ARG002 - nothing is removed
        """Return how many there are to be."""
        return self.value + 1

    async def store(self, database: Database, value: int) -> None:
        """POST."""
        new = NewSprocket(teeth=20, pitch_diameter=self.number + 1, outside_diameter=1, pitch=value)
        await database.write(add_sprocket, new, by="test")

    async def look(self, database: Database) -> int:
        """Return how many there are, each once."""
        sql = "SELECT pitch FROM sprockets WHERE pitch_diameter = :mine ORDER BY pitch"
        pitches = [pitch for (pitch,) in await database.all(sql, mine=self.number + 1)]
        return len(pitches) if pitches == [*range(1, len(pitches) + 1)] else HALF


async def one_value(database: Database, factory_id: int, time: int, *, rows: int) -> int:
    """Return the count that so many records from this minute on have in common, or 0 where there is none of them."""
    found = await database.all(
        "SELECT sprocket_production_actual FROM production"
        " WHERE factory_id = :factory_id AND time >= :since AND time < :until",
        factory_id=factory_id,
        since=time,
        until=time + rows * MINUTE,
    )
    values = {value for (value,) in found}
    if not found:
        return 0
    return values.pop() if len(found) == rows and len(values) == 1 else HALF


def counts(value: int) -> Counts:
    """Return equal counts."""
    return Counts(sprocket_production_actual=value, sprocket_production_goal=value)


class Account:
    """What came of all power cuts."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.lost: list[str] = []
        """What was acknowledged and is not there."""
        self.damaged: list[str] = []
        """What is not whole."""


class Life:
    """One database through many power cuts, and those who write to it."""

    def __init__(self, disk: SimulatedDisk, random: Random, account: Account) -> None:
        self.writers: Sequence[Writer] = (
            *(RecordWriter(number) for number in range(8)),
            *(ImportWriter(number) for number in (1, 2)),
            *(SprocketWriter(number) for number in range(2)),
        )
        self._account = account
        self._disk = disk
        self._random = random

    async def go_on(self, folder: Path) -> None:
        """Start with what is left there, compare it with what was promised, and write until the power is cut."""
        self._disk.restart(folder)
        self._disk.cut_power_after(round(MOST_MOMENTS ** self._random.random()))
        try:
            database = await open_database(f"sqlite:///{folder / 'factory.db'}")
        except Unusable as refusal:
            if self._disk.has_power:
                self._account.damaged.append(f"It does not start: {refusal}")
            self._disk.abandon()
            return
        faults = look_into_sqlite(folder / "factory.db").faults
        self._account.damaged += faults
        if not faults:
            await self._look(database)
            await self._write(database)
            if self._disk.has_power:
                self._account.damaged.append("A write was refused before the power was cut.")
        self._disk.abandon()
        await database.close()

    async def _look(self, database: Database) -> None:
        for writer in self.writers:
            stored = await writer.look(database)
            if stored == writer.under_way:
                writer.unanswered += 1
            elif stored == HALF:
                self._account.damaged.append(f"{writer} finds half of what was written at once.")
            elif stored != writer.value:
                self._account.lost.append(
                    f"{writer} was told {writer.value}, wrote {writer.under_way}, and finds {stored}."
                )
            writer.value, writer.under_way = stored, None
        writes = sum(writer.acknowledged + writer.unanswered for writer in self.writers)
        factories, changes = [len(await database.all(f"SELECT id FROM {table}")) for table in ("factories", "changes")]
        if changes != writes + factories:
            self._account.lost.append(
                f"There are {changes} entries in the record of changes for {writes + factories} writes."
            )
        if await recounted_rollups(database) != await stored_rollups(database):
            self._account.damaged.append("The sums are not those of the records.")

    async def _write(self, database: Database) -> None:
        known = await database.all("SELECT id FROM factories")
        with suppress(Refusal):
            for factory_id in FACTORIES[len(known) :]:
                await database.write(add_factory, NewFactory(name=f"Factory {factory_id}"), by="test")
        await asyncio.gather(*(writer.write_on(database, self._random) for writer in self.writers))


async def cut_power(folder: Path, cuts: int) -> Account:
    """Cut it so many times, beginning with an empty disk now and then, and return what came of it."""
    random = Random(SEED)  # noqa: S311 - the same moments each time
    account = Account()
    with simulated_disk(SEED) as disk:
        for first in range(0, cuts, CUTS_OF_A_LIFE):
            disk.empty()
            life = Life(disk, random, account)
            for number in range(first, min(first + CUTS_OF_A_LIFE, cuts)):
                await life.go_on(folder / str(number))
            account.acknowledged += sum(writer.acknowledged for writer in life.writers)
    return account


def set_synchronous(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let SQLite sync as this setting says, whatever the service asks for."""

    def open_writer(path: Path) -> apsw.Connection:
        connection = sqlite_opening.open_writer(path)
        connection.pragma("synchronous", how)
        return connection

    monkeypatch.setattr("sprocket_factory.database.sqlite.open_writer", open_writer)


async def test_fault_02_whatever_was_acknowledged_survives_power_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """It starts by itself, all is whole, each write is there or was never answered, and the next ones are taken."""
    if SYNCHRONOUS:
        set_synchronous(monkeypatch, SYNCHRONOUS)
    came_of = await cut_power(tmp_path, CUTS)
    record_testsuite_property("power cuts", CUTS)
    record_testsuite_property("acknowledged writes", came_of.acknowledged)
    record_testsuite_property("lost", len(came_of.lost))
    record_testsuite_property("damaged", len(came_of.damaged))

    assert [] == came_of.damaged
    assert [] == came_of.lost
    assert came_of.acknowledged > CUTS


async def test_power_cuts_show_that_less_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite does not sync at each COMMIT, what was acknowledged gets lost; but what is there is whole."""
    set_synchronous(monkeypatch, "normal")
    came_of = await cut_power(tmp_path, LIVES_TO_SHOW_IT * CUTS_OF_A_LIFE)

    assert [] != came_of.lost
    assert [] == came_of.damaged


async def test_power_cuts_show_that_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite never syncs, databases break."""
    set_synchronous(monkeypatch, "off")
    came_of = await cut_power(tmp_path, LIVES_TO_SHOW_IT * CUTS_OF_A_LIFE)

    assert [] != came_of.damaged
