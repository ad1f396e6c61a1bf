"""The first key: whoever starts the service for the first time becomes its administrator."""

import os
import sys
import tempfile
from pathlib import Path

import click

from sprocket_factory.database import Database
from sprocket_factory.entities.key import add_first_key, count_keys, new_secret
from sprocket_factory.errors import Unusable

FILE = "sprocket-factory.admin-key"


async def give_first_key(database: Database) -> None:
    """Make a key for an administrator if there is none at all, and show it once.

    On a terminal it is printed. Elsewhere what is printed may be kept in a log, so it goes into a file that only this
    user can read, beside an SQLite database or else in the folder where the program starts.

    Raises:
        Unusable: The file cannot be written; no key is made then.
    """
    if await count_keys(database):
        return
    secret = new_secret()
    if sys.stdout.isatty():
        if await database.write(add_first_key, secret, by="first start"):
            click.echo(f"The first key, for an administrator; it is shown this once:\n\n  {secret}\n")
        return
    path = _path_beside(database)
    # It is on the disk before it is a key, and under its name only then: of servers that start at once one makes it,
    # and none may write over what that one has written.
    draft = _draft(path, secret)
    try:
        if await database.write(add_first_key, secret, by="first start"):
            draft.replace(path)
            click.echo(f"The first key, for an administrator, is in {path}. Take it there and remove it.", err=True)
    finally:
        draft.unlink(missing_ok=True)


def _path_beside(database: Database) -> Path:
    location = Path(database.location)
    return location.parent / FILE if location.is_absolute() else Path(FILE).absolute()


def _draft(path: Path, secret: str) -> Path:
    """Write the secret into a file that only this user can read, beside where it will be. Raises Unusable."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "It is a folder")
        descriptor, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise Unusable(
            f"The first key cannot be written to {path}: {error.strerror}.",
            hint="Start on a terminal, or make one with `sprocket-factory key add`.",
        ) from error
    return Path(name)
