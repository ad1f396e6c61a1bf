"""Who serves an SQLite file: one process at a time, which others can find out.

The server holds a lock on a file of its own beside the database, which the system takes from it however it ends. The
lock's file stays: whoever removed it could let two servers lock two files of one name.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sprocket_factory.database.addresses import is_postgresql, path_of
from sprocket_factory.database.checking import check_writable, glance_at_sqlite
from sprocket_factory.errors import Unusable

ATTEMPTS = 3
PAUSE_SECONDS = 0.05


@contextmanager
def serving(url: str, *, must_exist: bool) -> Iterator[None]:
    """Let no other process serve the same file meanwhile. Of servers on PostgreSQL there may be any number.

    Raises:
        Unusable: Another process serves it, it is damaged, or this user cannot write it.
    """
    if is_postgresql(url) or _cannot_be_opened(path := path_of(url), must_exist=must_exist):
        yield
        return
    if path.exists():
        check_writable(path.absolute())
    with locked(path) as server:
        if server is not None:
            raise Unusable(
                f"{path.absolute()} is served already, by process {server}.",
                hint="One process serves an SQLite file. Stop that one first, or choose another --database-url.",
            )
        if path.is_file() and path.stat().st_size:
            glance_at_sqlite(path.absolute())
        yield


def _cannot_be_opened(path: Path, *, must_exist: bool) -> bool:
    """Return whether opening it fails anyway, and says why. Nothing is left in its folder then."""
    return not path.parent.is_dir() or (must_exist and not path.exists())


@contextmanager
def locked(path: Path) -> Iterator[str | None]:
    """Hold the lock of whoever serves the file, and give None; where another process holds it, give its id instead.

    Raises Unusable where the lock's file cannot be made.
    """
    descriptor = _opened(lock_file(path))
    try:
        if not _is_free(descriptor, fcntl.LOCK_EX):
            yield _written(descriptor)
            return
        with suppress(OSError):  # on a full disk nobody learns who it is, but still that there is one
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield None
    finally:
        os.close(descriptor)


def lock_file(path: Path) -> Path:
    """Return the lock's file, the same one by whatever name or link the database is reached."""
    real = path.resolve()
    return real.with_name(f"{real.name}-lock")


def server_of(path: Path) -> str | None:
    """Return the id of the process that serves the file; None where none does. Nothing is changed."""
    try:
        descriptor = os.open(lock_file(path), os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _is_free(descriptor, fcntl.LOCK_SH) else _written(descriptor)
    finally:
        os.close(descriptor)


def _written(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"


def _is_free(descriptor: int, lock: int) -> bool:
    """Take the lock, unless somebody keeps it for longer than one needs who only looks."""
    for _ in range(ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE_SECONDS)
    return False


def _opened(file: Path) -> int:
    """Open the lock's file, and make it if need be: root makes it for the one whom its folder belongs to.

    What somebody else has put there under that name, as a link to a file that only root may write, is not touched.

    Raises:
        Unusable: It cannot be opened, or is no file of its own.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise Unusable(f"{file} cannot be made: {error.strerror}.", hint="Check the folder's permissions.") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise Unusable(f"{file} is not the file of a lock.", hint="Remove it, and find out who has put it there.")
    if os.geteuid() == 0 and found.st_uid == 0:
        owner = file.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
