"""A folder of backups that are made one after another, each named after its moment: what is there, and what may go."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sprocket_factory.database.backup import SUFFIXES, engine_of
from sprocket_factory.database.backup_files import PARTIAL_SUFFIX, checksum_file, refusals_raised

NAME = re.compile(r"sprocket-factory-(\d{8}T\d{6})Z(\.\w+)")
PARTIAL = re.compile(rf"\.{NAME.pattern}-.*{re.escape(PARTIAL_SUFFIX)}.*")
MOMENT = "%Y%m%dT%H%M%S"

LOCK = ".sprocket-factory-backups-lock"


def make_folder(folder: Path) -> None:
    """Make the folder, for this user alone, if it is not there. Raises Unusable where nothing can be written there."""
    with refusals_raised(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        with turn_taken(folder):
            pass


def name_for(folder: Path, url: str, moment: datetime) -> Path:
    """Return the name of a backup of the database at this address."""
    return folder / f"sprocket-factory-{moment.astimezone(UTC).strftime(MOMENT)}Z{SUFFIXES[engine_of(url)]}"


def backups_in(folder: Path) -> list[tuple[datetime, Path]]:
    """Return the backups that a schedule has put there, each with its moment, the newest first."""
    if not folder.is_dir():
        return []
    found = [(moment_of(path), path) for path in folder.iterdir()]
    return sorted(((moment, path) for moment, path in found if moment is not None), reverse=True)


def moment_of(path: Path) -> datetime | None:
    """Return when this backup was made; None for any other file."""
    named = NAME.fullmatch(path.name)
    if named is None or named[2] not in SUFFIXES.values():
        return None
    try:
        return datetime.strptime(named[1], MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None


def newest_backup(folder: Path) -> datetime | None:
    """Return when the newest backup there was made, which was verified before it got its name; None for none."""
    return next((moment for moment, _ in backups_in(folder)), None)


def time_until_due(newest: datetime | None, every: timedelta) -> timedelta:
    """Return how long the next backup has still time; nothing or less where it is due."""
    # A clock that was set back would put it off for as long.
    return timedelta() if newest is None else min(newest + every - datetime.now(UTC), every)


def remove_older(folder: Path, keep: int) -> list[Path]:
    """Remove all scheduled backups but this many of the newest, and return which."""
    removed = [path for _, path in backups_in(folder)[keep:]]
    with refusals_raised(folder):
        for path in removed:
            path.unlink(missing_ok=True)
            checksum_file(path).unlink(missing_ok=True)
    return removed


@contextmanager
def turn_taken(folder: Path) -> Iterator[bool]:
    """Give whether it is this process's turn to make a backup there; it then is nobody else's meanwhile.

    Several workers, or servers, may have one folder. The turn of one that dies ends with it. Whoever has the turn finds
    nothing left behind by one that was killed. Other backups there, and restores, need no turn.
    """
    with refusals_raised(folder):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        _remove_partials(folder)
        yield True
    finally:
        os.close(descriptor)


def _remove_partials(folder: Path) -> None:
    """Remove what has begun as a scheduled backup. What has begun as another file may be somebody's work under way."""
    for left in folder.iterdir():
        if PARTIAL.fullmatch(left.name):
            left.unlink()
