"""Backup files: made under another name beside the final one, synced, and only then called by it.

Beside each lies a checksum, as `sha256sum --check` reads it. A crash leaves the file that was there before or the new
one, either whole, and at worst without its checksum.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from sprocket_factory.errors import StorageFull, Unusable

PARTIAL_SUFFIX = ".partial"

NAME_LETTERS = 40
"""So many of the target's name stand in that of a file that becomes it: a file's name has at most 255 bytes."""

BLOCK_BYTES = 1024 * 1024

FULL = (errno.ENOSPC, errno.EDQUOT)

GivenUp = Callable[[], bool]
"""Whether the work is to end: asked about every megabyte."""


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The work was given up on request."""


def never() -> bool:
    """Return that the work goes on."""
    return False


@contextmanager
def partial_beside(target: Path) -> Iterator[Path]:
    """Give an empty file in the target's folder that only this user can read. What is left of it at the end goes.

    Raises:
        Unusable, StorageFull: It cannot be made, or an error of the file system came up while it was in use.
    """
    with refusals_raised(target):
        prefix = f".{target.name[:NAME_LETTERS]}-"
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=PARTIAL_SUFFIX)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            for left in target.parent.glob(f"{escape(Path(name).name)}*"):
                left.unlink()


def put_in_place(partial: Path, target: Path, given_up: GivenUp = never) -> None:
    """Call a finished file by its final name, durably, and lay its checksum beside it."""
    line = f"{digest_of(partial, given_up)}  {target.name}\n"
    sync(partial)
    # For a moment there is no checksum: one that is of another file would make a good backup look like a bad one.
    checksum_file(target).unlink(missing_ok=True)
    partial.replace(target)
    sync(target.parent)
    with partial_beside(target) as short:
        short.write_text(line, encoding="utf-8")
        sync(short)
        short.replace(checksum_file(target))
    sync(target.parent)


def checksum_file(target: Path) -> Path:
    """Return where the checksum of a backup lies."""
    return target.with_name(f"{target.name}.sha256")


def check_checksum(backup: Path) -> bool:
    """Return whether a checksum lies beside the backup. Raises Unusable where it is that of another file."""
    path = checksum_file(backup)
    with refusals_raised(backup, verb="read"):
        if not path.exists():
            return False
        expected = path.read_text(encoding="utf-8", errors="replace").split()
        if [digest_of(backup)] != expected[:1]:
            raise Unusable(
                f"{backup} is not what was written: its SHA-256 differs from the one in {path.name}.",
                hint=f"Take another backup. If it was changed on purpose, remove {path.name}.",
            )
    return True


def digest_of(path: Path, given_up: GivenUp = never) -> str:
    """Return the SHA-256 of a file. Raises Stopped."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if given_up():
                raise Stopped
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Make a file, or what a folder lists, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def refusals_raised(path: Path, verb: str = "written") -> Iterator[None]:
    """Raise what a failure of the file system stands for in its place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(f"{path} cannot be {verb}: its disk is full.", hint="Make room on it.") from error
        raise Unusable(
            f"{path} cannot be {verb}: {error.strerror}.", hint="Check its folder and its permissions."
        ) from error
