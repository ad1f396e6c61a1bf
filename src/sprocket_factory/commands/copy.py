"""`sprocket-factory copy`: move everything from one database to another, and prove that it arrived."""

from typing import Any

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sprocket_factory.commands.opening import opened_database
from sprocket_factory.commands.options import refusals_told
from sprocket_factory.database import TABLES_WITH_IDS, Database
from sprocket_factory.entities.copying import (
    count_production,
    last_production,
    restore_factories,
    restore_last_ids,
    restore_production,
    restore_replays,
    restore_sprockets,
    stream_production_rows,
    stream_replays,
    sum_production,
)
from sprocket_factory.entities.factory import FACTORIES, Factory
from sprocket_factory.entities.listing import Order, Query, stream_list
from sprocket_factory.entities.sprocket import SPROCKETS, Sprocket
from sprocket_factory.errors import Conflict
from sprocket_factory.settings import Settings

BATCH_ROWS = 50_000
"""Records that are stored at a time. What is stored stays if the copy is broken off."""

BY_ID = Query(order=(Order("id"),))


@click.command()
@click.option("--from", "source_url", required=True, metavar="URL", help="The database to read.")
@click.option("--to", "target_url", required=True, metavar="URL", help="The database to fill: empty, or a begun copy.")
def copy(source_url: str, target_url: str) -> None:
    """Copy everything from one database to another, whichever engines they are.

    Stop the servers on both first. A copy that was broken off goes on where it stopped when it is started again. At the
    end both are compared: every sprocket and factory, and for each factory the count and the sums of its records.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with refusals_told(), Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        records = uvloop.run(_copy(source_url, target_url, progress))
    click.echo(f"Copied and compared: {records:,} records. Nothing differs.")


async def _copy(source_url: str, target_url: str, progress: Progress) -> int:
    async with (
        opened_database(Settings(database_url=source_url, must_exist=True)) as source,
        opened_database(Settings(database_url=target_url)) as target,
    ):
        await _copy_catalogue(source, target)
        records = await _copy_production(source, target, progress)
        async for replays in stream_replays(source):
            await target.write(restore_replays, replays, by="copy")
        await _compare(source, target)
        return records


async def _copy_catalogue(source: Database, target: Database) -> None:
    """Copy sprockets and factories, unless a copy begun earlier has done so."""
    sprockets, factories = await _catalogue(source)
    there = await _catalogue(target)
    if not any(there):
        await target.write(restore_sprockets, sprockets, by="copy")
        await target.write(restore_factories, factories, by="copy")
    elif there != (sprockets, factories):
        raise Conflict(
            f"{target.location} holds other sprockets or factories than {source.location}.",
            hint="Copy into an empty database, or go on with one that this copy has begun.",
        )
    last_ids = {table: await source.last_id(table) for table in TABLES_WITH_IDS}
    await target.write(restore_last_ids, last_ids, by="copy")


async def _catalogue(database: Database) -> tuple[list[Sprocket], list[Factory]]:
    sprockets = [sprocket async for chunk in stream_list(database, SPROCKETS, BY_ID) for sprocket in chunk]
    factories = [factory async for chunk in stream_list(database, FACTORIES, BY_ID) for factory in chunk]
    return sprockets, factories


async def _copy_production(source: Database, target: Database, progress: Progress) -> int:
    total = await count_production(source)
    task = progress.add_task("Production", total=total, completed=await count_production(target))
    batch: list[Any] = []
    async for rows in stream_production_rows(source, await last_production(target)):
        batch += rows
        if len(batch) >= BATCH_ROWS:
            await target.write(restore_production, batch, by="copy", alone=True)
            progress.advance(task, len(batch))
            batch = []
    await target.write(restore_production, batch, by="copy", alone=True)
    progress.advance(task, len(batch))
    return total


async def _compare(source: Database, target: Database) -> None:
    """Raise Conflict unless both hold the same."""
    catalogue = await _catalogue(source)
    differing = [] if catalogue == await _catalogue(target) else ["the catalogue or the factories"]
    differing += [
        f"the production of factory {factory.id}"
        for factory in catalogue[1]
        if await sum_production(source, factory.id) != await sum_production(target, factory.id)
    ]
    if differing:
        raise Conflict(
            f"The copy differs in {', '.join(differing)}.",
            hint="Was something written meanwhile? Empty the target and copy again with the servers stopped.",
        )
