"""`sprocket-factory demo`: the whole service on a throw-away database with sample data that goes on growing."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import click
import uvloop

from sprocket_factory.app import build_app, limits_of
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database import Database, Transaction, open_database
from sprocket_factory.endpoints.routing import BASE_PATH
from sprocket_factory.entities import geometry
from sprocket_factory.entities.factory import ensure_factory
from sprocket_factory.entities.instant import DAY, MINUTE, SECOND, now
from sprocket_factory.entities.key import NewKey, add_key
from sprocket_factory.entities.production_import import Spool, merge_production
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.observe_logs import configure_logging
from sprocket_factory.server import address_of, listen, run_server
from sprocket_factory.settings import Settings

DAYS = 2

HOUR = 60 * MINUTE
STOP = 15 * MINUTE

MILLIMETRES_PER_INCH = 25.4

CATALOGUE_CHAINS = ("25", "35", "40", "50", "60", "80", "100")
CATALOGUE_TEETH = (11, 13, 15, 17, 19, 20, 21, 23, 25, 30, 35, 40, 45, 60)

SEED = 1906
"""Makes the sample data of one minute the same whenever it is made."""


class SampleFactory(NamedTuple):
    """A factory of the demo: its goal a minute, and how well it keeps up with it."""

    name: str
    time_zone: str
    goal: int
    pace: float


FACTORIES = (
    SampleFactory("Sheffield", "Europe/London", 31, 1.06),
    SampleFactory("Pune", "Asia/Kolkata", 42, 1.00),
    SampleFactory("Milwaukee", "America/Chicago", 24, 1.03),
)


@click.command()
@settings_options("host", "port", "log_level")
def demo(host: str, port: int, log_level: str) -> None:
    """Serve sample data from a throw-away database: three factories that go on producing, and a catalogue."""
    configure_logging(log_level)
    with refusals_told(), tempfile.TemporaryDirectory(prefix="sprocket-factory-demo-") as folder:
        database_url = f"sqlite:///{Path(folder, 'demo.db')}"
        settings = Settings(
            host=host, port=port, log_level=log_level, database_url=database_url, anonymous_role="viewer"
        )
        uvloop.run(_demo(settings, listen(host, port, anybody_writes=False)))


async def _demo(settings: Settings, listener: socket.socket) -> None:
    database = await open_database(settings.database_url)
    try:
        await database.write(make_samples, now(), by="demo")
        key = await database.write(add_key, NewKey(name="demo", role="admin"), by="demo")
        async with asyncio.TaskGroup() as tasks:
            producing = tasks.create_task(_produce_for_ever(database))
            welcome = _welcome(address_of(listener), key.secret)
            await run_server(build_app(settings, database), listener, welcome, limits_of(settings))
            producing.cancel()
    finally:
        await database.close()


async def make_samples(tx: Transaction, until: int) -> None:
    """Store the sample factories with their minutes up to now, and the catalogue."""
    for sprocket in sample_catalogue():
        await add_sprocket(tx, sprocket)
    for factory in FACTORIES:
        await ensure_factory(tx, factory.name, factory.time_zone)
    last = until - until % MINUTE
    await produce(tx, range(last - DAYS * DAY, last + 1, MINUTE))


async def produce(tx: Transaction, minutes: range) -> None:
    """Store what the sample factories made in these minutes."""
    spool = Spool()
    try:
        for factory in FACTORIES:
            stored, _ = await ensure_factory(tx, factory.name)
            for minute in minutes:
                spool.add(stored.id, minute, *sample_minute(factory, minute))
        await merge_production(tx, spool, "skip", {})
    finally:
        spool.close()


def sample_minute(factory: SampleFactory, minute: int) -> tuple[int, int]:
    """Return what the factory made in this minute and what it set out to make.

    Some hours go better than others, and in one of six a machine stands for a quarter of it.
    """
    hour = Random(f"{SEED} {factory.name} {minute // HOUR}")  # noqa: S311 - sample data
    pace = factory.pace * hour.gauss(1, 0.04)
    stands = hour.random() < 1 / 6
    stopped_at = hour.randrange(0, HOUR - STOP, MINUTE)
    if stands and stopped_at <= minute % HOUR < stopped_at + STOP:
        return 0, factory.goal
    random = Random(f"{SEED} {factory.name} {minute}")  # noqa: S311 - as above
    return max(0, round(random.gauss(factory.goal * pace, 1.5))), factory.goal


def sample_catalogue() -> Iterator[NewSprocket]:
    """Give real roller-chain sprockets in millimetres, after ASME B29.1."""
    for chain in CATALOGUE_CHAINS:
        pitch = geometry.STANDARD_PITCH_INCHES[chain] * MILLIMETRES_PER_INCH
        for teeth in CATALOGUE_TEETH:
            yield NewSprocket(
                teeth=teeth,
                pitch_diameter=round(geometry.pitch_diameter(teeth, pitch), 3),
                outside_diameter=round(geometry.outside_diameter(teeth, pitch), 2),
                pitch=round(pitch, 4),
            )


async def _produce_for_ever(database: Database) -> None:
    while True:
        await asyncio.sleep((MINUTE - now() % MINUTE) / SECOND)
        # A timer may fire a little early: the minute that is meant is the nearest one.
        nearest = now() + MINUTE // 2
        last = nearest - nearest % MINUTE
        await database.write(produce, range(last, last + 1, MINUTE), by="demo")


def _welcome(address: str, secret: str) -> str:
    base = f"{address}{BASE_PATH}"
    return f"""
Sprocket Factory is running on sample data, which is gone when it stops (Ctrl-C).

  The board:             {address}/
  Sign in there with:    {secret}
  The API, described:    {address}/docs
  The same for programs: {address}/openapi.json

Paste these into another terminal:

  curl {base}/sprockets/1
  curl '{base}/production/1?sort=-time&limit=10'
  curl {base}/sprockets -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json' \\
       -d '{{"teeth": 20, "pitch_diameter": 162.37, "outside_diameter": 175.61, "pitch": 25.4}}'
"""
