"""`sprocket-factory prune`: let go of old entries of the record of changes, which otherwise grows for ever."""

from typing import Any

import click
import uvloop
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import Period, refusals_told, settings_options
from sprocket_factory.entities.change import complete_changes
from sprocket_factory.entities.change_feed import KEPT_AT_LEAST, Pruned, prune_changes
from sprocket_factory.entities.instant import DAY, SECOND, now
from sprocket_factory.entities.replay import forget_outdated
from sprocket_factory.errors import Invalid
from sprocket_factory.settings import Settings


@click.command()
@click.option(
    "--changes-older-than",
    "age",
    type=Period("30d", "12w"),
    required=True,
    help=f"How long changes are kept: 30d, 12w. At least {KEPT_AT_LEAST // DAY}d, for readers who were away.",
)
@settings_options(*DATABASE_SETTINGS)
def prune(age: int, **flags: Any) -> None:
    """Remove old changes, and what imports had replaced and removed so long ago.

    Whoever wants to keep them elsewhere runs `export changes` before. A server may be running meanwhile: little is
    removed at a time. What is stored stays as it is. Answers that are kept for repetitions of requests go as well, if
    they are outdated.
    """
    settings = Settings(**flags, must_exist=True)
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} removed"), TimeElapsedColumn())
    with refusals_told(), Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        if age * SECOND < KEPT_AT_LEAST:
            raise Invalid(
                f"Changes are kept for {KEPT_AT_LEAST // DAY} days at least: whoever follows them may be away so long.",
                hint="Give a longer time.",
            )
        pruned = uvloop.run(_prune(settings, now() - age * SECOND, progress))
    click.echo(f"Removed {pruned.changes:,} changes, and {pruned.rows:,} old records of imports and removals.")


async def _prune(settings: Settings, outdated: int, progress: Progress) -> Pruned:
    task = progress.add_task("", total=None)
    total = Pruned(0, 0)
    async with opened_database(settings) as database:
        await complete_changes(database)
        while any(pruned := await database.write(prune_changes, outdated, by="prune")):
            total = Pruned(total.changes + pruned.changes, total.rows + pruned.rows)
            progress.update(task, completed=sum(total))
        while await database.write(forget_outdated, by="prune"):
            pass
    return total
