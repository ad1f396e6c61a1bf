"""Backups of an SQLite file, taken while a server writes to it, and the way back."""

from contextlib import closing, suppress
from pathlib import Path

import apsw

from sprocket_factory.database.backup_files import GivenUp, Stopped, never, partial_beside, put_in_place
from sprocket_factory.database.checking import (
    MIGRATIONS,
    SESSIONS,
    Contents,
    another_programs,
    count_rows,
    look_into_sqlite,
    reading_sqlite,
    tables_of,
)
from sprocket_factory.errors import StorageFull, Unusable

STEP_PAGES = 256
"""Copied at a time: a megabyte."""


def back_up_sqlite(source: Path, target: Path, given_up: GivenUp = never) -> Contents:
    """Copy the file as it is at this moment, look at the whole copy, and only then call it by the target's name.

    Raises:
        Unusable: The database or the copy of it is damaged, or one of the two files cannot be used.
        StorageFull: There is no room for the copy.
        Stopped: It was given up. Nothing is left behind then.
    """
    if source.exists() and target.exists() and source.samefile(target):
        raise Unusable(f"{target} is the database itself.", hint="Name another file.")
    with partial_beside(target) as partial:
        copied = copy_snapshot(source, partial, given_up)
        found = look_into_sqlite(partial, given_up=given_up)
        if found.faults or found.contents != copied:
            raise Unusable(
                f"No backup of {source} was kept: {' '.join(found.faults) or f'it held {found.contents}.'}",
                hint="Look with `sprocket-factory check`; `sprocket-factory restore` brings back the last good backup.",
            )
        put_in_place(partial, target, given_up)
    return copied


def copy_snapshot(source: Path, target: Path, given_up: GivenUp = never) -> Contents:
    """Copy one snapshot of the source over the target, which nobody uses, and return what that snapshot holds.

    Nobody is signed in there.

    The snapshot is held to the end: a copy that follows the source as it changes begins anew whenever somebody writes,
    and never ends beside a busy server. Writers go on meanwhile, and their log grows until the copy is done.
    """
    with reading_sqlite(source, given_up) as reader, closing(apsw.Connection(str(target))) as writer:
        if MIGRATIONS not in tables_of(reader):
            raise another_programs(source)
        contents = count_rows(reader)
        # What becomes of the target in a crash does not matter: it has its name only once it is whole and synced.
        writer.pragma("journal_mode", "off")
        writer.pragma("synchronous", "off")
        with writer.backup("main", reader, "main") as copying:
            while not copying.done:
                if given_up():
                    raise Stopped
                copy_step(copying, target)
        with suppress(apsw.CorruptError):  # the look at the whole copy tells of it
            if SESSIONS in tables_of(writer):
                writer.execute(f"DELETE FROM {SESSIONS}")  # noqa: S608 - a word of ours
        writer.pragma("journal_mode", "delete")  # one file, with nothing beside it
    return contents


def copy_step(copying: apsw.Backup, target: Path) -> None:
    """Copy some pages more. Raises StorageFull or Unusable."""
    try:
        copying.step(STEP_PAGES)
    except apsw.FullError as error:
        raise StorageFull(f"There is no room for the copy in {target.parent}.", hint="Make room there.") from error
    except apsw.IOError as error:
        raise Unusable(
            f"The database cannot be copied into {target.parent}: {error}.", hint="Check both disks."
        ) from error
