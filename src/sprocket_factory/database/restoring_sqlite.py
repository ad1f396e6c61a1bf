"""Putting a backup in the place of an SQLite file, whatever state that file is in."""

import asyncio
import os
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import apsw

from sprocket_factory.database import TABLES_WITH_IDS, open_database
from sprocket_factory.database.backup_files import GivenUp, Stopped, never, partial_beside, refusals_raised, sync
from sprocket_factory.database.backup_sqlite import copy_snapshot
from sprocket_factory.database.checking import (
    BUSY_MILLISECONDS,
    MIGRATIONS,
    NOTHING,
    Contents,
    another_programs,
    count_rows,
    look_into_sqlite,
    reading_sqlite,
    tables_of,
)
from sprocket_factory.database.serving import locked
from sprocket_factory.database.sqlite_transaction import reserve_ids
from sprocket_factory.errors import Busy, Conflict, Damaged, Unusable

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file. It would replay what is of the old file into the new one."""


def restore_sqlite(backup: Path, target: Path, *, force: bool, given_up: GivenUp = never) -> Contents:
    """Put what the backup holds in the place of the target, and return that.

    Whoever has the target open meanwhile, a server with `force` included, sees all of it at once and loses nothing
    that he writes afterwards. Only a file that SQLite cannot read is replaced by another file, and kept beside it. No
    id is given again that either of them has given.

    Raises:
        Conflict: The target holds something or is served, and `force` is not set.
        Unusable: The backup is no good, or the target is another program's. The target is as it was then.
        Busy: Another program is writing to the target.
        Stopped: It was given up before anything was replaced.
    """
    target = target.resolve()
    if backup.exists() and target.exists() and backup.samefile(target):
        raise Unusable(f"{backup} is the database itself.", hint="Name a backup of it.")
    if not target.parent.is_dir():
        raise Unusable(f"There is no folder {target.parent}.", hint="Make it, or choose another --database-url.")
    with locked(target) as server:
        found = look_at(target)
        if not force:
            refuse_loss(target, server, found)
        if server is not None and found is None:
            raise Conflict(f"{target} is damaged and served by process {server}.", hint="Stop that one first.")
        with partial_beside(target) as partial:
            contents = prepare(backup, partial, given_up)
            if given_up():
                raise Stopped
            if found is None or not target.exists():
                put_in_place_of(target, partial)
            else:
                pour_into(target, partial)
    return contents


def look_at(target: Path) -> Contents | None:
    """Return what is there, or None where no sense can be made of it. Raises Unusable where it is another program's."""
    if not target.exists():
        return NOTHING
    try:
        with reading_sqlite(target) as connection:
            tables = tables_of(connection)
            if not tables:
                return NOTHING
            if MIGRATIONS not in tables:
                raise another_programs(target)
            return count_rows(connection)
    except Damaged:
        return None


def refuse_loss(target: Path, server: str | None, found: Contents | None) -> None:
    """Raise Conflict where a restore would take something from somebody."""
    hint = "Back it up first; then --force restores over it."
    if server is not None:
        raise Conflict(f"{target} is served by process {server}.", hint=f"Stop that one. {hint}")
    if found is None:
        raise Conflict(f"{target} is damaged or no SQLite database.", hint="--force keeps it under another name.")
    if not found.is_empty:
        raise Conflict(f"{target} is not empty: {found}.", hint=hint)


def prepare(backup: Path, partial: Path, given_up: GivenUp) -> Contents:
    """Fill `partial` from the backup, look at all of it, bring it up to date; return what the backup holds.

    Raises:
        Unusable: It is damaged, or another program's, or its schema is newer than this program.
        Stopped: It was given up.
    """
    try:
        copy_snapshot(backup, partial, given_up)
    except Unusable as refusal:
        raise Unusable(refusal.detail, hint="Take another backup.") from refusal
    condition = look_into_sqlite(partial, given_up=given_up)
    if condition.faults:
        raise Unusable(f"{backup} cannot be restored: {' '.join(condition.faults)}", hint="Take another backup.")
    asyncio.run(bring_up_to_date(partial))
    return condition.contents


async def bring_up_to_date(path: Path) -> None:
    """Apply the migrations that the file has not seen."""
    database = await open_database(f"sqlite:///{quote(str(path))}", must_exist=True)
    await database.close()


def pour_into(target: Path, partial: Path) -> None:
    """Replace what a sound file holds in one transaction of its own, but for the ids that it has given. Raises Busy."""
    with closing(apsw.Connection(str(target))) as into, closing(apsw.Connection(str(partial))) as source:
        into.set_busy_timeout(BUSY_MILLISECONDS)
        into.pragma("synchronous", "full")
        try:
            into.pragma("journal_mode", "wal")  # it can be read while nobody else may write
            with into.backup("main", source, "main") as copying:
                copying.step(0)  # from now on nobody else writes, so that no further id is given
                for table, last_id in last_ids(target).items():
                    reserve_ids(source, table, last_id)
                copying.step(-1)
        except (apsw.BusyError, apsw.LockedError) as error:
            raise Busy(f"Another program writes to {target}.", hint="Try again in a moment.") from error
        except apsw.Error as error:
            raise Unusable(f"{target} cannot be written: {error}.", hint="It is as it was.") from error


def last_ids(target: Path) -> dict[str, int]:
    """Return the last id that each table has given."""
    with reading_sqlite(target) as connection:
        if not tables_of(connection):
            return {}
        given = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        return {table: int(given.get(table, 0)) for table in TABLES_WITH_IDS}


def put_in_place_of(target: Path, partial: Path) -> None:
    """Give the target's name to a finished file; what has it now is kept under another, with all that belongs to it."""
    kept = target.with_name(f"{target.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    with refusals_raised(target):
        for suffix in BESIDE:
            beside = Path(f"{target}{suffix}")
            if beside.exists():
                beside.rename(f"{kept}{suffix}")
        if target.exists():
            kept.hardlink_to(target)  # so that at no moment there is no file of that name
        _give_as(partial, target if target.exists() else target.parent)
        sync(partial)
        partial.replace(target)
        sync(target.parent)


def _give_as(partial: Path, like: Path) -> None:
    """Let the file belong to whom the other one, or its folder, belongs to: root restores for the one who serves."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(partial, owner.st_uid, owner.st_gid)
    if like.is_file():
        shutil.copymode(like, partial)
