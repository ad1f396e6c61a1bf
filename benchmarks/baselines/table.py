"""What the baselines share, so that they differ only in how a request reaches its row: the table and its file."""

from pathlib import Path

import apsw
import msgspec

SPROCKETS_PATH = "/sprocketFactory/v1/sprockets"

CREATE = """
CREATE TABLE IF NOT EXISTS sprockets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    teeth INTEGER NOT NULL,
    pitch_diameter REAL NOT NULL,
    outside_diameter REAL NOT NULL,
    pitch REAL NOT NULL
) STRICT
"""
FIND = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets WHERE id = ?"
LIST = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets ORDER BY id"
INSERT = "INSERT INTO sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (?, ?, ?, ?)"


class NewSprocket(msgspec.Struct):
    """A sprocket as it is sent. A struct, since msgspec decodes into one faster than into a dict."""

    teeth: int
    pitch_diameter: float
    outside_diameter: float
    pitch: float


class Sprocket(msgspec.Struct):
    """A stored sprocket. A struct, since msgspec writes it in half the time of a dict and an eighth of json.dumps."""

    id: int
    teeth: int
    pitch_diameter: float
    outside_diameter: float
    pitch: float


def open_connection(database: Path) -> apsw.Connection:
    """Open the file durably: WAL, and every commit is synced before it returns.

    apsw and not sqlite3: side by side it read one row in 1.3 µs against 2.4, and sixty in 16 µs against 37.
    """
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(5_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    return connection


def open_with_table(database: Path) -> apsw.Connection:
    """Open the file durably, with the table in it."""
    connection = open_connection(database)
    connection.execute(CREATE)
    return connection


def insert(writer: apsw.Connection, new: NewSprocket) -> Sprocket:
    """Insert one sprocket, in whatever transaction stands, and return it with its id."""
    writer.execute(INSERT, (new.teeth, new.pitch_diameter, new.outside_diameter, new.pitch))
    return Sprocket(writer.last_insert_rowid(), new.teeth, new.pitch_diameter, new.outside_diameter, new.pitch)


def list_all(reader: apsw.Connection) -> list[Sprocket]:
    """Return every sprocket by id."""
    return [Sprocket(*row) for row in reader.execute(LIST)]
