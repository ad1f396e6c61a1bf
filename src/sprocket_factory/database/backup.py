"""Backups, the way back, and what is wrong with a database: the door to what each engine does for them."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sprocket_factory.database import ServerPlace
from sprocket_factory.database.addresses import is_postgresql, path_of, without_password
from sprocket_factory.database.backup_files import check_checksum
from sprocket_factory.database.backup_sqlite import back_up_sqlite
from sprocket_factory.database.checking import Condition, Contents, look_into_sqlite
from sprocket_factory.database.restoring_sqlite import restore_sqlite
from sprocket_factory.errors import Unusable

SUFFIXES = {"sqlite": ".db", "postgresql": ".dump"}

MAGIC = {b"SQLite format 3\0": "sqlite", b"PGDMP": "postgresql"}


def engine_of(url: str) -> str:
    """Return which engine keeps the database at this address."""
    return "postgresql" if is_postgresql(url) else "sqlite"


async def back_up(place: ServerPlace, target: Path, programs: str = "") -> Contents:
    """Make a backup of the database while others use it, look at all of it, and only then call it by its name.

    Cancelled, it leaves nothing behind.

    Args:
        place: The database.
        target: The file, which is replaced if it is there.
        programs: The folder with PostgreSQL's own programs; none is named for those on the PATH.

    Raises:
        Unusable: There is nothing to back up, or it is damaged, or a program is missing or too old.
        StorageFull: There is no room for the backup.
    """
    if is_postgresql(place.url):
        from sprocket_factory.database.backup_postgresql import back_up_postgresql  # noqa: PLC0415 - only the engine in use

        return await back_up_postgresql(place, target, programs)
    made, is_cancelled = await _in_thread(partial(back_up_sqlite, path_of(place.url).absolute(), target))
    if is_cancelled:
        raise asyncio.CancelledError
    return made


async def restore(place: ServerPlace, backup: Path, programs: str = "", *, force: bool = False) -> Contents:
    """Put what a backup holds in the place of what the database holds, and return that.

    All of the backup is looked at before anything is replaced.

    Raises:
        Conflict: The database holds something or is in use, and `force` is not set.
        Unusable: The backup is no good, or the database is another program's. Everything is as it was then.
        Busy: Another program is writing to the database.
    """
    engine = engine_of_backup(backup)
    if engine != engine_of(place.url):
        raise Unusable(
            f"{backup} is a backup of another engine than that of {without_password(place.url)}.",
            hint="Restore it on its own engine, then use `sprocket-factory copy`.",
        )
    check_checksum(backup)
    if engine == "postgresql":
        from sprocket_factory.database.restoring_postgresql import restore_postgresql  # noqa: PLC0415 - as above

        return await restore_postgresql(place, backup, programs, force=force)
    # Cancelled too late, it is told of all the same: whoever reads "aborted" would look for what was there before.
    restored, _ = await _in_thread(partial(restore_sqlite, backup, path_of(place.url), force=force))
    return restored


async def _in_thread(work: Callable[..., Contents]) -> tuple[Contents, bool]:
    """Do what can be given up in a thread; return what it returns, and whether it was cancelled when all was done."""
    given_up = threading.Event()
    working = asyncio.ensure_future(asyncio.to_thread(work, given_up=given_up.is_set))
    try:
        return await asyncio.shield(working), False
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait([working])
        if working.exception() is None:
            return working.result(), True
        raise


async def look_into(place: ServerPlace, *, quickly: bool = False) -> Condition:
    """Return what a database holds and what is wrong with it, after reading all of it.

    Raises:
        Unusable: It cannot be read at all, or is another program's.
    """
    if is_postgresql(place.url):
        from sprocket_factory.database.checking_postgresql import look_into_postgresql  # noqa: PLC0415 - as above

        return await look_into_postgresql(place, quickly=quickly)
    return await asyncio.to_thread(look_into_sqlite, path_of(place.url).absolute(), quickly=quickly)


async def look_into_backup(backup: Path, programs: str = "") -> Condition:
    """Return what a backup holds and what is wrong with it. Raises Unusable where it is none, or has been changed."""
    engine = engine_of_backup(backup)
    check_checksum(backup)
    if engine == "postgresql":
        from sprocket_factory.database.checking_postgresql import look_into_archive  # noqa: PLC0415 - as above

        return await look_into_archive(backup, programs)
    return await asyncio.to_thread(look_into_sqlite, backup)


def engine_of_backup(backup: Path) -> str:
    """Return of which engine this is a backup. Raises Unusable where it is none."""
    try:
        with backup.open("rb") as file:
            begin = file.read(max(map(len, MAGIC)))
    except OSError as error:
        raise Unusable(f"{backup} cannot be read: {error.strerror}.", hint="Check the name.") from error
    for magic, engine in MAGIC.items():
        if begin.startswith(magic):
            return engine
    raise Unusable(f"{backup} is no backup.", hint="Name a file that `sprocket-factory backup` has made.")
