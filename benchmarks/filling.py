"""Put factories, records and sprockets into tables by SQL: the same rows for every contender, faster than any could.

Tables are filled while nobody serves them. The product's sums are marked as never made: its next start makes them.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import apsw
import asyncpg
import msgspec

BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
INDEX = "CREATE INDEX production_by_time ON production (time, factory_id)"

NUMBERS = """
WITH RECURSIVE numbers (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM numbers WHERE number < :count - 1)
INSERT INTO production (factory_id, time, sprocket_production_actual, sprocket_production_goal)"""
# What the product and the bare limit store: microseconds since 1970.
SQLITE_INTEGERS = f"{NUMBERS} SELECT :id, (:begin + number * :step) * 1000000, 29 + number % 4, 32 FROM numbers"
# What SQLAlchemy and Django store in SQLite.
SQLITE_TEXTS = f"""{NUMBERS} SELECT
:id, strftime('%Y-%m-%d %H:%M:%S.000000', :begin + number * :step, 'unixepoch'), 29 + number % 4, 32 FROM numbers"""
POSTGRESQL = """
INSERT INTO production SELECT $1, to_timestamp($2 + number * $3), 29 + number % 4, 32
FROM generate_series(0, CAST($4 AS bigint) - 1) AS numbers (number)"""
SPROCKET = "INSERT INTO sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES (?, ?, ?, ?)"


class Factory(msgspec.Struct, frozen=True):
    """A factory, with so many records, each so many seconds after the one before."""

    id: int
    records: int
    zone: str = "UTC"
    step: int = 60

    @property
    def name(self) -> str:
        """What it is called."""
        return f"Factory {self.id}"

    @property
    def values(self) -> dict[str, int]:
        """What the statements for SQLite are given."""
        return {"id": self.id, "begin": int(BEGIN.timestamp()), "step": self.step, "count": self.records}


class Stock(msgspec.Struct, frozen=True):
    """What is put into the tables."""

    factories: Sequence[Factory]
    sprockets: int = 0

    @property
    def records(self) -> int:
        """How many records all factories have."""
        return sum(factory.records for factory in self.factories)


def list_sprockets(number: int) -> list[tuple[int, float, float, float]]:
    """Return teeth, pitch diameter, outside diameter and pitch, in millimetres, of so many sprockets."""
    return [(10 + n, round(8.0856 * (10 + n), 2), round(8.0856 * (10 + n) + 13.6, 2), 25.4) for n in range(number)]


def fill_sqlite(file: Path, stock: Stock) -> None:
    """Fill the product's file."""
    connection = apsw.Connection(str(file))
    connection.execute("BEGIN; UPDATE rollups SET tzdata = ''; DROP INDEX production_by_time")
    connection.executemany(
        "INSERT INTO factories (id, name, name_folded, time_zone) VALUES (?, ?, ?, ?)",
        [(one.id, one.name, one.name.casefold(), one.zone) for one in stock.factories],
    )
    connection.executemany(SQLITE_INTEGERS, [one.values for one in stock.factories])
    connection.executemany(SPROCKET, list_sprockets(stock.sprockets))
    connection.execute(f"{INDEX}; COMMIT")
    connection.close()


def fill_plain(file: Path, stock: Stock, records: str) -> None:
    """Fill the file of a program that the product is compared with; `records` is the statement for those."""
    connection = apsw.Connection(str(file))
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO factories (id, name) VALUES (?, ?)", [(one.id, one.name) for one in stock.factories]
    )
    connection.executemany(records, [one.values for one in stock.factories])
    connection.executemany(SPROCKET, list_sprockets(stock.sprockets))
    connection.execute("COMMIT")
    connection.pragma("wal_checkpoint", "truncate")
    connection.close()


def fill_postgresql(address: str, stock: Stock) -> None:
    """Fill the product's database on PostgreSQL."""
    asyncio.run(_fill_postgresql(address, stock))


async def _fill_postgresql(address: str, stock: Stock) -> None:
    connection = await asyncpg.connect(address)
    try:
        await connection.execute("UPDATE rollups SET tzdata = ''; DROP INDEX production_by_time")
        await connection.executemany(
            "INSERT INTO factories (id, name, name_folded, time_zone) VALUES ($1, $2, $3, $4)",
            [(one.id, one.name, one.name.casefold(), one.zone) for one in stock.factories],
        )
        for one in stock.factories:
            values = (one.id, int(BEGIN.timestamp()), one.step, one.records)
            await connection.execute(POSTGRESQL, *values, timeout=600)
        await connection.executemany(
            "INSERT INTO sprockets (teeth, pitch_diameter, outside_diameter, pitch) VALUES ($1, $2, $3, $4)",
            list_sprockets(stock.sprockets),
        )
        await connection.execute(INDEX, timeout=600)
        await connection.execute("VACUUM ANALYZE production", timeout=600)
        await connection.execute("CHECKPOINT", timeout=600)
    finally:
        await connection.close()
