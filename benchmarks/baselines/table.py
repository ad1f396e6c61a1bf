"""What the baselines share, so that they differ only in how a request reaches its row: the table and its file."""

from pathlib import Path

import apsw
import msgspec

SPROCKETS_PATH = "/sprocketFactory/v1/sprockets"

PRODUCTION_PATH = "/sprocketFactory/v1/production"

# The same columns, keys and units as the product's: times are microseconds since 1970, in the order of the key.
CREATE = """
CREATE TABLE IF NOT EXISTS sprockets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    teeth INTEGER NOT NULL,
    pitch_diameter REAL NOT NULL,
    outside_diameter REAL NOT NULL,
    pitch REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS factories (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS production (
    factory_id INTEGER NOT NULL,
    time INTEGER NOT NULL,
    sprocket_production_actual INTEGER NOT NULL,
    sprocket_production_goal INTEGER NOT NULL,
    PRIMARY KEY (factory_id, time)
) STRICT, WITHOUT ROWID
"""
FIND = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets WHERE id = ?"
LIST = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets ORDER BY id"
INSERT = "INSERT INTO sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (?, ?, ?, ?)"
REPLACE = "UPDATE sprockets SET teeth = ?, pitch_diameter = ?, outside_diameter = ?, pitch = ? WHERE id = ?"
RECORDS = """
SELECT sprocket_production_actual, sprocket_production_goal,
       strftime('%Y-%m-%dT%H:%M:%SZ', time / 1000000, 'unixepoch'), factory_id
FROM production"""
ALL_RECORDS = f"{RECORDS} ORDER BY factory_id, time"
RECORDS_OF_ONE = f"{RECORDS} WHERE factory_id = ? ORDER BY time"


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


class Record(msgspec.Struct):
    """A record of production."""

    sprocket_production_actual: int
    sprocket_production_goal: int
    time: str
    factory_id: int


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


def list_all(reader: apsw.Connection) -> list[Sprocket]:
    """Return every sprocket by id."""
    return [Sprocket(*row) for row in reader.execute(LIST)]


def list_records(reader: apsw.Connection, factory_id: int | None = None) -> list[Record]:
    """Return every record by factory and time, or those of one factory."""
    rows = reader.execute(ALL_RECORDS) if factory_id is None else reader.execute(RECORDS_OF_ONE, (factory_id,))
    return [Record(*row) for row in rows]
