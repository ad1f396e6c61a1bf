"""`sprocket-factory load`: bring files of factories, production and sprockets into the database."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.endpoints.formats_reading import RecordReader
from sprocket_factory.endpoints.formats_reading_csv import CsvReader
from sprocket_factory.endpoints.formats_reading_json import ArrayReader, NdjsonReader
from sprocket_factory.endpoints.reading import decode
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.production_import import OnConflict
from sprocket_factory.entities.seed import Report, Seed, SeedFile, store_seeds
from sprocket_factory.errors import Invalid, Refusal
from sprocket_factory.settings import Settings

READERS: dict[str, type[RecordReader]] = {".csv": CsvReader, ".ndjson": NdjsonReader, ".jsonl": NdjsonReader}

BLOCK_BYTES = 256 * 1024

RECORDS_ONLY = (
    "Only production records are read so. Factories and sprockets come in a .json file:"
    ' {"factories": [...], "sprockets": [...]}.'
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@settings_options(*DATABASE_SETTINGS, "must_exist", "max_ahead_seconds")
@click.option(
    "--on-conflict",
    type=click.Choice(get_args(OnConflict)),
    default="error",
    show_default=True,
    help="What to do with a record or a time zone that is stored otherwise.",
)
@click.option("--allow-duplicates", is_flag=True, help="Add every sprocket type of the files, stored already or not.")
def load(files: tuple[Path, ...], on_conflict: OnConflict, *, allow_duplicates: bool, **flags: Any) -> None:
    """Load FILES into the database: all of them, or nothing where one is wrong.

    A .json file holds factories with their columns of production, sprockets, or both; a factory may name its time_zone.
    A .csv, .ndjson or .jsonl file holds production records, and so does a .json file that is an array. Loading the same
    file twice changes nothing.
    """
    console = Console(stderr=True)
    settings = Settings(**flags)
    latest = now() + settings.max_ahead_seconds * SECOND
    with refusals_told(), ExitStack() as spools:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        with progress:
            seeds = [spools.enter_context(Seed(file.name)) for file in files]
            for seed, file in zip(seeds, files, strict=True):
                read_into(seed, file, latest, progress)
            storing = progress.add_task("Storing", total=None)
            report = uvloop.run(_store(seeds, settings, on_conflict, allow_duplicates=allow_duplicates))
            progress.update(storing, total=1, completed=1)
    Console().print(_table(report))
    for name, factory_id in report.factory_ids.items():
        click.echo(f"factory_id {factory_id}: {name}")


def read_into(seed: Seed, path: Path, latest: int, progress: Progress) -> None:
    """Read everything the file brings, checked. Raises a refusal that names the file and the place."""
    task = progress.add_task(path.name, total=path.stat().st_size)
    try:
        with progress.open(path, "rb", task_id=task) as file:
            if path.suffix in READERS:
                reader = READERS[path.suffix](seed.spool, latest)
                _read_records(reader, iter(partial(file.read, BLOCK_BYTES), b""))
            elif path.suffix == ".json":
                _read_json(seed, file.read(), latest)
            else:
                raise Invalid(
                    f"Nothing is known of {path.suffix or 'no'} files.", hint=f"Name it .json, {', '.join(READERS)}."
                )
    except Refusal as refusal:
        refusal.detail = f"{path}: {refusal.detail}"
        raise


def _read_json(seed: Seed, text: bytes, latest: int) -> None:
    """Read an array as records, and anything else as what a factory starts from."""
    if text.lstrip().startswith(b"["):
        _read_records(ArrayReader(seed.spool, latest), [text])
    else:
        seed.take(decode(text, SeedFile), latest)


def _read_records(reader: RecordReader, blocks: Iterable[bytes]) -> None:
    try:
        for block in blocks:
            _at_once(reader.feed(block))
        _at_once(reader.finish())
    except Invalid as refusal:
        # Where nothing before it was right, the file may be one of other things.
        if not refusal.hint and refusal.faults[0].row in {None, 1}:
            refusal.hint = RECORDS_ONLY
        raise


def _at_once(steps: Iterator[None]) -> None:
    """Read on to the end. Nobody waits for his turn here."""
    deque(steps, maxlen=0)


async def _store(seeds: list[Seed], settings: Settings, on_conflict: OnConflict, *, allow_duplicates: bool) -> Report:
    async with opened_database(settings) as database:
        return await database.write(store_seeds, seeds, on_conflict, allow_duplicates, by="load", alone=True)


def _table(report: Report) -> Table:
    columns = ("created", "replaced", "unchanged", "skipped")
    table = Table("", *(name.capitalize() for name in columns))
    for column in table.columns[1:]:
        column.justify = "right"
    for entity in ("factories", "production", "sprockets"):
        merged = getattr(report, entity)
        table.add_row(entity.capitalize(), *(f"{getattr(merged, name):,}" for name in columns))
    return table
