"""`sprocket-factory migrate`: bring the schema of a database up to date, or say what that would do."""

from typing import Any

import click
import uvloop

from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database import list_missing_migrations
from sprocket_factory.database.migrations import Migration
from sprocket_factory.settings import Settings, read_secret


@click.command()
@settings_options(*DATABASE_SETTINGS)
@click.option("--dry-run", is_flag=True, help="Say what is missing and change nothing.")
def migrate(*, dry_run: bool, **flags: Any) -> None:
    """Bring the schema up to date. `serve` and `load` do so as well, when they start."""
    settings = Settings(**flags)
    with refusals_told():
        missing = uvloop.run(_migrate(settings, dry_run=dry_run))
    for migration in missing:
        click.echo(f"{'missing' if dry_run else 'applied'}  {migration.number:04d}  {migration.name}")
    if not missing:
        click.echo("The schema is up to date.")


async def _migrate(settings: Settings, *, dry_run: bool) -> list[Migration]:
    missing = await list_missing_migrations(
        settings.database_url,
        password=read_secret(settings.database_password_file),
        through_proxy=settings.database_through_proxy,
    )
    if missing and not dry_run:
        async with opened_database(settings):
            pass
    return missing
