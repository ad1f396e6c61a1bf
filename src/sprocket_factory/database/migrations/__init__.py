"""Numbered SQL, each applied once: NNNN_name.sql for every engine, NNNN_name.<engine>.sql for one."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from sprocket_factory.errors import Unavailable, Unusable


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str


@cache
def migrations_for(engine: str) -> list[Migration]:
    """Return every migration of this engine in order."""
    return sorted(_read(engine))


def missing_migrations(engine: str, applied: int) -> list[Migration]:
    """Return what a schema at this number still needs.

    Raises:
        Unusable: The schema is newer than this program.
    """
    known = migrations_for(engine)
    if applied > known[-1].number:
        raise Unusable(
            f"The database's schema is at version {applied}, and this program knows versions up to {known[-1].number}.",
            hint="Start it with the newer program that wrote it, or restore a backup from before that.",
        )
    return [migration for migration in known if migration.number > applied]


def check_schema(engine: str, applied: int) -> None:
    """Raise Unavailable unless a schema at this number is the one that this program knows."""
    newest = migrations_for(engine)[-1].number
    if applied != newest:
        raise Unavailable(
            f"The database's schema is at version {applied}, and this program needs {newest}.",
            hint="Start the program that it belongs to.",
        )


def _read(engine: str) -> Iterator[Migration]:
    for file in files(__package__).iterdir():
        stem, *dialect = file.name.removesuffix(".sql").split(".")
        if file.name.endswith(".sql") and dialect in ([], [engine]):  # Python keeps its bytecode beside them
            number, _, name = stem.partition("_")
            yield Migration(int(number), name, file.read_text(encoding="utf-8"))
