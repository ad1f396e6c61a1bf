"""SQLite's connections as they are opened: whose file it is, which pragmas, which schema."""

from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw

from sprocket_factory.database.checking import check_writable
from sprocket_factory.database.migrations import Migration, missing_migrations
from sprocket_factory.database.sqlite_writer import BUSY_SECONDS
from sprocket_factory.errors import Unusable

APPLICATION_ID = 0x5B0C4E7F
"""Marks the file as ours, so that `file` and we can tell it from another program's database."""

MAX_WAL_BYTES = 64 * 1024 * 1024


def missing_in_sqlite(path: Path) -> list[Migration]:
    """Return what the schema of the file still needs; all of it where there is no file. Raises Unusable."""
    if not path.exists():
        return missing_migrations("sqlite", 0)
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            _check_ours(path, _tables(connection))
            numbers = connection.execute("SELECT max(number) FROM migrations").fetchone()
    except apsw.Error as error:
        raise Unusable(f"{path} cannot be read: {error}.", hint="Check that it is a database of ours.") from error
    return missing_migrations("sqlite", numbers[0] if numbers else 0)


def _check_ours(path: Path, tables: set[object]) -> None:
    if "migrations" not in tables:
        raise Unusable(f"{path} is another program's database.", hint="Choose another --database-url.")


def open_writer(path: Path) -> apsw.Connection:
    """Return a connection that writes. Raises Unusable where this user cannot, or the file is another program's."""
    check_writable(path)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(round(BUSY_SECONDS * 1000))  # first of all: the next line may meet another process
    try:
        _check_ours(path, _tables(connection) or {"migrations"})
    except Unusable:
        connection.close()
        raise
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", "on")
    connection.pragma("journal_size_limit", MAX_WAL_BYTES)
    # A migration folds the names that are stored as Python does: SQLite folds ASCII alone.
    connection.create_scalar_function("casefold", _casefold, 1, deterministic=True)
    connection.execute(files("sprocket_factory.database").joinpath("staging.sqlite.sql").read_text(encoding="utf-8"))
    return connection


def _casefold(*name: Any) -> str:
    return str(name[0]).casefold()


def open_reader(path: Path) -> apsw.Connection:
    """Return a connection that cannot write, for one thread at a time.

    SQLite does not see to that itself: the locks that it would take for every row and column are a third of what it
    takes to read many rows.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX)
    connection.pragma("query_only", "on")
    return connection


def migrate(connection: apsw.Connection) -> bool:
    """Bring the schema up to date under the write lock; return whether there was none before."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        tables = _tables(connection)
        if not tables:
            connection.pragma("application_id", APPLICATION_ID)
            connection.execute(
                "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)"
            )
        numbers = [number for (number,) in connection.execute("SELECT number FROM migrations")]
        for migration in missing_migrations("sqlite", max(numbers, default=0)):
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, datetime('now'))",
                (migration.number, migration.name),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # of a full disk SQLite makes the end of it by itself
            connection.execute("ROLLBACK")
        connection.close()
        raise
    return not tables


def _tables(connection: apsw.Connection) -> set[object]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
