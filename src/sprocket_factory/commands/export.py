"""`sprocket-factory export`: write what the database has to a file, in any format and with any filter of the API."""

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from typing import IO, Any

import click
import uvloop
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database import Database
from sprocket_factory.endpoints.formats import FORMATS, Format
from sprocket_factory.endpoints.listing import filters_of, read_query
from sprocket_factory.endpoints.parameters import check_parameters
from sprocket_factory.entities.change import CHANGES, complete_changes
from sprocket_factory.entities.factory import FACTORIES
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.listing import Listing, Query, read_list, stream_list
from sprocket_factory.entities.production import PRODUCTION
from sprocket_factory.entities.sprocket import SPROCKETS
from sprocket_factory.errors import Conflict, Unusable
from sprocket_factory.settings import Settings

LISTINGS: Mapping[str, Listing[Any]] = {
    "sprockets": SPROCKETS,
    "factories": FACTORIES,
    "production": PRODUCTION,
    "changes": CHANGES,
}

BY_SUFFIX = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json"}


@click.command()
@click.argument("what", type=click.Choice(list(LISTINGS)))
@click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--format", "format_", type=click.Choice(list(FORMATS)), help="What --output is named for, or csv, if left out."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write; standard output if left out."
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@settings_options(*DATABASE_SETTINGS, "max_ahead_seconds")
def export(
    what: str, filters: tuple[str, ...], format_: str | None, output: Path | None, *, force: bool, **flags: Any
) -> None:
    """Write all sprockets, factories, production or changes, or those that the filters leave.

    A filter is a parameter of the API's list: factory_id=1, time__gte=2021-01-21T00:00:00Z, sort=-time, limit=1000. A
    server may be running meanwhile: what is written is one consistent state.
    """
    listing = LISTINGS[what]
    format_type = FORMATS[_format_for(output, format_)]
    settings = Settings(**flags, must_exist=True)
    with refusals_told(), ExitStack() as open_files:
        if output and output.is_file() and not force:
            raise Conflict(f"There is a file {output} already.", hint="Choose another name, or say --force.")
        given = check_parameters((_pair(text) for text in filters), filters_of(listing))
        query = read_query(listing, given, now() + settings.max_ahead_seconds * SECOND)
        file = open_files.enter_context(whole_file(output)) if output else sys.stdout.buffer
        console = Console(stderr=True)
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.completed:,.0f} rows"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        with progress:
            uvloop.run(_write(listing, query, format_type(listing.columns), file, progress, settings))


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that gets its name only once it is whole; what was there before stays until then. Raises Unusable.

    Only a regular file is replaced so: a device or a pipe is written to as it is.
    """
    path = path.resolve()
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
        else:
            with part.open("wb") as file:
                yield file
            part.replace(path)
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}.", hint="Choose another --output.") from error
    finally:
        part.unlink(missing_ok=True)


def _format_for(output: Path | None, format_: str | None) -> str:
    """Return the format that was asked for, or else that of the file's name. Raises BadParameter where they differ."""
    by_name = BY_SUFFIX.get(output.suffix.lower()) if output else None
    if format_ and by_name and format_ != by_name:
        raise click.BadParameter(
            f"{output} is the name of a {by_name} file. Leave --format out, or choose another --output.",
            param_hint="--format",
        )
    return format_ or by_name or "csv"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE.", param_hint="filters")
    return name, value


async def _write(  # noqa: PLR0913, PLR0917 - what is written, how, and where to
    listing: Listing[Any], query: Query, format_: Format, file: IO[bytes], progress: Progress, settings: Settings
) -> None:
    async with opened_database(settings) as database:
        await complete_changes(database)
        task = progress.add_task("", total=None)
        file.write(format_.begin())
        first = True
        async for rows in _chunks(database, listing, query):
            file.write(format_.rows(rows, first=first))
            progress.advance(task, len(rows))
            first = False
        file.write(format_.end())
        file.flush()


async def _chunks(database: Database, listing: Listing[Any], query: Query) -> AsyncGenerator[list[Any]]:
    if query.limit is not None:
        yield await read_list(database, listing, query)
        return
    async with aclosing(stream_list(database, listing, query)) as chunks:
        async for rows in chunks:
            yield rows
