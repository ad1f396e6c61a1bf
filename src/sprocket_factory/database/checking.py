"""What a database holds, and what is wrong with it: the same for one in use and for a backup of one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import apsw

from sprocket_factory.database.backup_files import GivenUp, Stopped, never
from sprocket_factory.database.migrations import missing_migrations
from sprocket_factory.errors import Damaged, Unusable

BUSY_MILLISECONDS = 5000

GLANCE_SECONDS = 0.15
"""How long a start may be held up. It is enough for about 30 MB."""

INSTRUCTIONS_BETWEEN_LOOKS = 100_000
"""Of SQLite's own: about a millisecond."""

MAX_FAULTS = 20

MIGRATIONS = "migrations"

SESSIONS = "sessions"

UNCOUNTED = frozenset({MIGRATIONS, SESSIONS})
"""Who has signed in is in no backup: what was signed out is not to be revived by one."""

NOT_OURS = ("sqlite_", "_litestream_")


class Contents(NamedTuple):
    """The number of the newest migration, and how many rows each table has."""

    schema: int
    rows: Mapping[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{table} {count:,}" for table, count in sorted(self.rows.items()))
        return f"schema {self.schema}, {counts}"

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is stored. With which time zones nothing was summed up is no matter."""
        return not any(count for table, count in self.rows.items() if table != "rollups")


NOTHING = Contents(0, {})


class Condition(NamedTuple):
    """What a database holds, and one sentence for each thing that is wrong with it."""

    contents: Contents
    faults: tuple[str, ...] = ()


def damaged(path: Path, error: object) -> Damaged:
    """Return what the operator is told of a file that SQLite cannot make sense of."""
    return Damaged(
        f"{path} is damaged or no SQLite database: {error}.",
        hint="Restore a backup with `sprocket-factory restore`, or choose another file.",
    )


def another_programs(path: Path) -> Unusable:
    """Return what the operator is told of a file that is not ours."""
    return Unusable(f"{path} is another program's database.", hint="Choose another --database-url.")


@contextmanager
def reading_sqlite(path: Path, given_up: GivenUp = never) -> Iterator[apsw.Connection]:
    """Give a connection that sees one snapshot of the file and changes nothing.

    Raises:
        Unusable: There is no such file, or it is damaged, or it cannot be read.
        Stopped: It was given up.
    """
    if not path.is_file():
        raise Unusable(f"There is no database at {path}.", hint="Check the address.")
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            connection.set_progress_handler(given_up, INSTRUCTIONS_BETWEEN_LOOKS)
            connection.execute("BEGIN")
            yield connection
    except apsw.InterruptError as error:
        raise Stopped from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise damaged(path, error) from error
    except apsw.Error as error:
        raise Unusable(f"{path} cannot be read: {error}.", hint="Check its permissions and its disk.") from error


def glance_at_sqlite(path: Path) -> None:
    """Look for damage, but no longer than a start may be held up. Raises Unusable."""
    deadline = monotonic() + GLANCE_SECONDS
    try:
        with reading_sqlite(path, lambda: monotonic() > deadline) as connection:
            for (found,) in connection.execute("PRAGMA quick_check(1)"):
                if found != "ok":
                    raise damaged(path, found)
    except Stopped:
        return  # it is large; `check` and every backup look at all of it


def check_writable(path: Path) -> None:
    """Raise Unusable where SQLite could open the file, but not write: it says so late, and leaves files behind."""
    beside = [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm")]
    for needed in (path, *(file if file.exists() else path.parent for file in beside)):
        if not os.access(needed, os.W_OK) and needed.exists():  # or its last user has just removed it
            raise Unusable(
                f"{needed} cannot be written.",
                hint="Start as the user it belongs to, or chown it to this one; the disk may be read-only as well.",
            )


def look_into_sqlite(path: Path, *, quickly: bool = False, given_up: GivenUp = never) -> Condition:
    """Return what the file holds and what is wrong with it. Raises Stopped, and Unusable where it cannot be read."""
    try:
        with reading_sqlite(path, given_up) as connection:
            return _look(connection, path, quickly=quickly)
    except Damaged as refusal:
        return Condition(NOTHING, (_sentence(f"SQLite says: {refusal.__cause__}"),))


def _look(connection: apsw.Connection, path: Path, *, quickly: bool) -> Condition:
    if MIGRATIONS not in tables_of(connection):
        raise another_programs(path)
    check = "quick_check" if quickly else "integrity_check"
    found = [str(found) for (found,) in connection.execute(f"PRAGMA {check}({MAX_FAULTS})")]
    if found != ["ok"]:
        return Condition(NOTHING, tuple(_sentence(fault) for fault in found))
    contents = count_rows(connection)
    orphans = [] if quickly else islice(connection.execute("PRAGMA foreign_key_check"), MAX_FAULTS)
    faults = [f"{table} has a row that refers to one of {other} that is not there." for table, _, other, _ in orphans]
    return Condition(contents, (*faults, *newer_schema("sqlite", contents.schema)))


def count_rows(connection: apsw.Connection) -> Contents:
    """Return what the connection's snapshot holds."""
    (schema,) = next(connection.execute(f"SELECT coalesce(max(number), 0) FROM {MIGRATIONS}"))  # noqa: S608
    rows = {
        table: next(connection.execute(f'SELECT count(*) FROM "{table}"'))[0]  # noqa: S608 - as the schema has it
        for table in tables_of(connection) - UNCOUNTED
    }
    return Contents(schema, rows)


def tables_of(connection: apsw.Connection) -> set[str]:
    """Return the names of all tables, but for those of SQLite's and Litestream's own."""
    names = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {name for name in names if not name.startswith(NOT_OURS)}


def newer_schema(engine: str, schema: int) -> list[str]:
    """Return the sentence about a schema that is newer than this program, if it is."""
    try:
        missing_migrations(engine, schema)
    except Unusable as refusal:
        return [str(refusal)]
    return []


def _sentence(fault: str) -> str:
    return f"{fault.strip().rstrip('.')}."
