"""The first key: whoever starts the service for the first time becomes its administrator."""

import os
import sys
import tempfile
from pathlib import Path

import click

from sprocket_factory.database import Database
from sprocket_factory.database.backup_files import sync
from sprocket_factory.entities.key import add_first_key, count_keys, has_administrator, new_secret
from sprocket_factory.errors import OutcomeUnknown, Refusal, Unusable

FILE = Path("sprocket-factory.admin-key")

NO_ADMINISTRATOR = (
    "There are keys, but no good one of an administrator."
    " `sprocket-factory key add NAME --role admin` beside the database makes one."
)


async def give_first_key(database: Database, *, has_issuer: bool = False) -> None:
    """Make a key for an administrator if there is none at all, and show it once.

    On a terminal it is printed. Elsewhere what is printed may be kept in a log, so it goes into a file that only this
    user can read, beside an SQLite database or else in the folder where the program starts. No other file is written
    over: it may hold the key of another database. A file goes away again only where it surely holds no key.

    Where there are keys, but none of an administrator, that is said, unless an issuer may vouch for administrators.

    Raises:
        Unusable: The file cannot be written; no key is made then.
        OutcomeUnknown: Nobody can say whether the key was made. It is printed, or its file stays and is named.
    """
    if await count_keys(database):
        if not has_issuer and not await has_administrator(database):
            click.echo(NO_ADMINISTRATOR, err=True)
        return
    secret = new_secret()
    if sys.stdout.isatty():
        try:
            is_made = await database.write(add_first_key, secret, by="first start")
        except OutcomeUnknown:
            click.echo(f"If there is a first key now, it is this one, shown this once:\n\n  {secret}\n")
            raise
        if is_made:
            click.echo(f"The first key, for an administrator; it is shown this once:\n\n  {secret}\n")
        return
    # It is on the disk before it is a key, and under its name only then: of servers that start at once one makes it,
    # and none may write over what that one has written.
    draft = _draft(_folder_beside(database), secret)
    try:
        is_made = await database.write(add_first_key, secret, by="first start")
    except OutcomeUnknown:
        click.echo(f"If there is a first key now, it is in {draft}.", err=True)
        raise
    except Refusal:
        draft.unlink()
        raise
    if not is_made:
        draft.unlink()
        return
    path = _named(draft)
    click.echo(f"The first key, for an administrator, is in {path}. Take it there and remove it.", err=True)


def _folder_beside(database: Database) -> Path:
    location = Path(database.location)
    return location.parent if location.is_absolute() else Path.cwd()


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder that hold first keys."""
    return sorted(folder.glob(f"{FILE.stem}*{FILE.suffix}"))


def _named(draft: Path) -> Path:
    """Give the file of a key its name, and return where it is: under the name of a draft if it can have no other."""
    try:
        return draft.replace(_new_file(draft.parent))
    except OSError:  # the key is made, and nobody has it but this file
        return draft


def _new_file(folder: Path) -> Path:
    """Return the path of a file that was not there before, and is now: FILE, or one with a number. Raises OSError."""
    path, number = folder / FILE, 1
    while True:
        try:
            path.touch(0o600, exist_ok=False)
        except FileExistsError:  # or a link, wherever it leads
            number += 1
            path = folder / f"{FILE.stem}-{number}{FILE.suffix}"
        else:
            return path


def _draft(folder: Path, secret: str) -> Path:
    """Write the secret into a file that only this user can read, beside where it will be. Raises Unusable."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{FILE.stem}-", suffix=FILE.suffix, dir=folder)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(descriptor)
            sync(folder)
        except OSError:
            draft.unlink()
            raise
    except OSError as error:
        raise Unusable(
            f"The first key cannot be written to {folder / FILE}: {error.strerror}.",
            hint="Start on a terminal, or make one with `sprocket-factory key add`.",
        ) from error
    return draft
