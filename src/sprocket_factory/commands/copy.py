"""`sprocket-factory copy`: move everything from one database to another, and prove that it arrived."""

from functools import partial
from typing import NamedTuple

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sprocket_factory.commands.opening import opened_database
from sprocket_factory.commands.options import refusals_told
from sprocket_factory.database import Database, Row
from sprocket_factory.database.given_ids import last_ids, reserve_ids
from sprocket_factory.entities.attainment_rollup import outdate, rebuild_outdated
from sprocket_factory.entities.change import complete_changes
from sprocket_factory.entities.copying import (
    TABLES,
    Table,
    compare,
    count_rows,
    last_key,
    name_of,
    restore,
    stream_rows,
)
from sprocket_factory.errors import Conflict
from sprocket_factory.settings import Settings

BATCH_ROWS = 50_000
"""Rows that are stored at a time. What is stored stays if the copy is broken off."""


class Copy(NamedTuple):
    """What is copied where, and where it is shown how far that is."""

    source: Database
    target: Database
    progress: Progress


@click.command()
@click.option("--from", "source_url", required=True, metavar="URL", help="The database to read.")
@click.option("--to", "target_url", required=True, metavar="URL", help="The database to fill: empty, or a begun copy.")
@click.option("--from-password-file", default="", metavar="FILE", help="File with the password for --from.")
@click.option("--to-password-file", default="", metavar="FILE", help="File with the password for --to.")
@click.option("--through-proxy", is_flag=True, help="A proxy that pools transactions stands before PostgreSQL.")
def copy(
    source_url: str, target_url: str, from_password_file: str, to_password_file: str, *, through_proxy: bool
) -> None:
    """Copy everything from one database to another, whichever engines they are.

    Stop the servers on both first. A copy that was broken off goes on where it stopped when it is started again. At the
    end both are compared row by row.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    source = Settings(
        database_url=source_url,
        database_password_file=from_password_file,
        database_through_proxy=through_proxy,
        must_exist=True,
    )
    target = Settings(
        database_url=target_url, database_password_file=to_password_file, database_through_proxy=through_proxy
    )
    with refusals_told(), Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        counts = uvloop.run(_copy(source, target, progress))
    click.echo(f"Copied and compared: {', '.join(f'{count:,} {name}' for name, count in counts.items())}.")
    click.echo("Nothing differs.")


async def _copy(source: Settings, target: Settings, progress: Progress) -> dict[str, int]:
    async with opened_database(source) as here, opened_database(target) as there:
        job = Copy(here, there, progress)
        await complete_changes(here)
        for table in TABLES:
            await _check_begun(job, table)
        await there.write(outdate, by="copy")
        for table in TABLES:
            await _copy_table(job, table)
        await there.write(rebuild_outdated, by="copy", alone=True)
        await there.write(reserve_ids, await last_ids(here), by="copy")
        return {table.name: await _compare(job, table) for table in TABLES}


async def _check_begun(job: Copy, table: Table) -> None:
    """Raise Conflict unless the target holds what the source begins with, or nothing."""
    if await last_key(job.target, table) is None:
        return
    task = job.progress.add_task(f"Looking at {table.name}", total=await count_rows(job.target, table))
    difference = await compare(job.source, job.target, table, partial(job.progress.advance, task))
    if difference is not None and difference.there is not None:
        where = name_of(table, difference)
        raise Conflict(
            f"{job.target.location} holds other {table.name} than {job.source.location} ({where}).",
            hint="Copy into an empty database, or go on with a copy of what has not changed since.",
        )


async def _copy_table(job: Copy, table: Table) -> None:
    """Copy what the target lacks."""
    after = await last_key(job.target, table)
    done = 0 if after is None else await count_rows(job.target, table)
    task = job.progress.add_task(
        f"Copying {table.name}", total=await count_rows(job.source, table), completed=done or 0
    )
    batch: list[Row] = []
    async for rows in stream_rows(job.source, table, after):
        batch += rows
        if len(batch) >= BATCH_ROWS:
            await job.target.write(restore, table, batch, by="copy", alone=True)
            job.progress.advance(task, len(batch))
            batch = []
    await job.target.write(restore, table, batch, by="copy", alone=True)
    job.progress.advance(task, len(batch))


async def _compare(job: Copy, table: Table) -> int:
    """Return how many rows both hold. Raises Conflict where any differs."""
    alike = 0
    task = job.progress.add_task(f"Comparing {table.name}", total=await count_rows(job.source, table))

    def advance(rows: int) -> None:
        nonlocal alike
        alike += rows
        job.progress.advance(task, rows)

    difference = await compare(job.source, job.target, table, advance)
    if difference is not None:
        raise Conflict(
            f"The copy differs in {name_of(table, difference)}.",
            hint="Was something written meanwhile? Empty the target and copy again with the servers stopped.",
        )
    return alike
