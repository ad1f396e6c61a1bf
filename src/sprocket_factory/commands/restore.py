"""`sprocket-factory restore`: put what a backup holds in the place of what the database holds."""

from pathlib import Path
from typing import Any

import click
import uvloop

from sprocket_factory.commands.opening import DATABASE_SETTINGS, place_of
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database.backup import restore as restore_backup
from sprocket_factory.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@settings_options(*DATABASE_SETTINGS, "postgresql_programs")
@click.option("--force", is_flag=True, help="Restore over a database that is in use, damaged, or not empty.")
def restore(file: Path, *, force: bool, **flags: Any) -> None:
    """Restore the backup FILE.

    All of it is read before anything is replaced, and then everything is replaced at once or nothing is. The schema is
    brought up to date.
    """
    settings = Settings(**flags)
    with refusals_told():
        contents = uvloop.run(
            restore_backup(place_of(settings), file.resolve(), settings.postgresql_programs, force=force)
        )
    click.echo(f"Restored: {contents}")
    click.echo("Keys that were revoked after the backup was made are valid again: look at `key list`.", err=True)
