"""`sprocket-factory backup`: a verified copy of the database in one file, made while others use it."""

from pathlib import Path
from time import monotonic
from typing import Any

import click
import uvloop

from sprocket_factory.commands.opening import DATABASE_SETTINGS, place_of
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database.backup import back_up
from sprocket_factory.errors import Conflict
from sprocket_factory.settings import Settings

MEGABYTE = 1_000_000


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@settings_options(*DATABASE_SETTINGS, "postgresql_programs")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, *, force: bool, **flags: Any) -> None:
    """Make a backup of the database: one file, whole or not at all.

    Servers go on reading and writing meanwhile. What was acknowledged before it began is in it. All of it is read again
    before it is called FILE, and FILE.sha256 is laid beside it.
    """
    began = monotonic()
    file = file.resolve()
    with refusals_told():
        if file.exists() and not file.is_file():
            raise Conflict(f"{file} is no file.", hint="A backup would take its place.")
        if file.exists() and not force:
            raise Conflict(f"There is a file {file} already.", hint="Choose another name, or say --force.")
        contents = uvloop.run(back_up(place_of(settings := Settings(**flags)), file, settings.postgresql_programs))
    click.echo(f"{file}: {contents}")
    size = file.stat().st_size / MEGABYTE
    click.echo(f"Made and verified in {monotonic() - began:.1f} s, {size:,.1f} MB.", err=True)
