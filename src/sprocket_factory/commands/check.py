"""`sprocket-factory check`: is the database, or a backup of it, sound?"""

from pathlib import Path
from typing import Any

import click
import uvloop

from sprocket_factory.commands.opening import DATABASE_SETTINGS, place_of
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.backup import engine_of, look_into, look_into_backup
from sprocket_factory.database.backup_folder import backups_in
from sprocket_factory.database.checking import NOTHING, Condition
from sprocket_factory.database.migrations import missing_migrations
from sprocket_factory.errors import Unusable
from sprocket_factory.settings import Settings


@click.command()
@click.argument("backups", nargs=-1, type=click.Path(path_type=Path))
@settings_options(*DATABASE_SETTINGS, "postgresql_programs", "backup_folder")
def check(backups: tuple[Path, ...], **flags: Any) -> None:
    """Read all of the database, or of the BACKUPS that are named, and say whether it is sound.

    A server may be running meanwhile. The exit code is 1 where something is wrong.
    """
    settings = Settings(**flags)
    with refusals_told():
        sound = [_check_backup(file, settings) for file in backups] if backups else [_check_database(settings)]
    if not all(sound):
        raise SystemExit(1)


def _check_database(settings: Settings) -> bool:
    """Say what is found in the database, and return whether it is sound."""
    condition = uvloop.run(look_into(place_of(settings)))
    sound = _tell(without_password(settings.database_url), condition)
    if sound and (older := missing_migrations(engine_of(settings.database_url), condition.contents.schema)):
        click.echo(f"Its schema lacks {len(older)} migrations, which `migrate` or the next start applies.")
    if not sound:
        newest = next((path.absolute() for _, path in backups_in(Path(settings.backup_folder))), "FILE")
        click.echo(f"`sprocket-factory restore --force {newest}` puts a backup in its place; `check {newest}` first.")
    return sound


def _check_backup(file: Path, settings: Settings) -> bool:
    """Say what is found in a backup, and return whether it is sound."""
    try:
        condition = uvloop.run(look_into_backup(file, settings.postgresql_programs))
    except Unusable as refusal:
        condition = Condition(NOTHING, (str(refusal),))
    return _tell(str(file), condition)


def _tell(name: str, condition: Condition) -> bool:
    if not condition.faults:
        click.echo(f"{name} is OK: {condition.contents}")
        return True
    click.echo(f"{name} is NOT sound:")
    for fault in condition.faults:
        click.echo(f"  {fault}")
    return False
