"""How a command gets at the database that its settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import click

from sprocket_factory.database import Database, ServerPlace, open_database
from sprocket_factory.entities.attainment_rollup import are_up_to_date, rebuild_outdated
from sprocket_factory.errors import Busy
from sprocket_factory.observe import log
from sprocket_factory.settings import Settings, read_secret

DATABASE_SETTINGS = (
    "database_url",
    "database_password_file",
    "database_connections",
    "database_through_proxy",
)


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Database]:
    """Give the open database, and say where it is if it is new. Raises Unusable."""
    database = await open_database(
        settings.database_url,
        password=read_secret(settings.database_password_file),
        must_exist=settings.must_exist,
        connections=settings.database_connections,
        through_proxy=settings.database_through_proxy,
        max_streams=settings.max_lists,
    )
    try:
        if database.is_new:
            click.echo(f"Made a new database: {database.location}", err=True)
        await _rebuild_sums(database)
        yield database
    finally:
        await database.close()


def place_of(settings: Settings) -> ServerPlace:
    """Return where the database is, for what does not open it as a server does. Raises Unusable."""
    return ServerPlace(
        settings.database_url,
        read_secret(settings.database_password_file),
        settings.database_connections,
        settings.database_through_proxy,
    )


async def _rebuild_sums(database: Database) -> None:
    """Make the sums of production anew where they are not there, or were made with other time zones."""
    while not await are_up_to_date(database):
        if not database.is_new:
            log.info("summing up all production by quarter-hour and day, as this version of the time zones has them")
        with suppress(Busy):  # another server does so at this moment, or a write holds the database: look again then
            await database.write(rebuild_outdated, by="start", alone=True)
