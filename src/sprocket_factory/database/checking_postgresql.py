"""What a PostgreSQL database, or an archive of one, holds, and what is wrong with it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import asyncpg

from sprocket_factory.database import ServerPlace
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.backup_postgresql import Connection, snapshot, tables_there
from sprocket_factory.database.checking import MIGRATIONS, UNCOUNTED, Condition, Contents, newer_schema
from sprocket_factory.database.postgresql_archive import read_archive
from sprocket_factory.database.postgresql_programs import find_programs
from sprocket_factory.errors import Unusable

DAMAGE = (asyncpg.InternalServerError, asyncpg.PostgresSystemError)
"""What the server says of what it finds damaged."""

INVALID_INDEXES = """
SELECT CAST(CAST(indexrelid AS regclass) AS text) FROM pg_index
WHERE NOT indisvalid AND indrelid = ANY (CAST(CAST($1 AS text[]) AS regclass[]))"""

REFERENCES = """
SELECT CAST(CAST(conrelid AS regclass) AS text), mine.attname, CAST(CAST(confrelid AS regclass) AS text), theirs.attname
FROM pg_constraint
JOIN pg_attribute AS mine ON mine.attrelid = conrelid AND mine.attnum = conkey[1]
JOIN pg_attribute AS theirs ON theirs.attrelid = confrelid AND theirs.attnum = confkey[1]
WHERE contype = 'f' AND cardinality(conkey) = 1 AND conrelid = ANY (CAST(CAST($1 AS text[]) AS regclass[]))"""


async def look_into_postgresql(place: ServerPlace, *, quickly: bool) -> Condition:
    """Return what the database holds and what is wrong with it. Raises Unusable where it cannot be read.

    Every row of every table is read, unless `quickly`; what the server finds damaged then is told. Damage that only
    the server's own tools see, as in an index, is left to `pg_amcheck`.
    """
    async with snapshot(place) as connection:
        tables = await tables_there(connection)
        if MIGRATIONS not in tables:
            raise Unusable(f"There are no tables of ours at {without_password(place.url)}.", hint="Check the address.")
        schema = int(await connection.fetchval(f"SELECT coalesce(max(number), 0) FROM {MIGRATIONS}"))  # noqa: S608
        rows: dict[str, int] = {}
        faults = newer_schema("postgresql", schema)
        for table in tables:
            try:
                rows[table] = await _count(connection, table, quickly=quickly)
            except DAMAGE as error:
                faults.append(f"{table} cannot be read whole: {error}.")
        faults += [f"The index {name} is not valid." for (name,) in await connection.fetch(INVALID_INDEXES, tables)]
        if not quickly and not faults:
            faults = await _orphans(connection, tables)
    counted = {table: count for table, count in rows.items() if table not in UNCOUNTED}
    return Condition(Contents(schema, counted), tuple(faults))


async def _count(connection: Connection, table: str, *, quickly: bool) -> int:
    """Return how many rows a table has, after reading each of them, unless `quickly`."""
    what = "count(*)" if quickly else "count(CAST(t AS text))"
    async with connection.transaction():  # what fails would end the one around it
        return int(await connection.fetchval(f"SELECT {what} FROM {table} AS t"))  # noqa: S608 - as migrations name it


async def _orphans(connection: Connection, tables: list[str]) -> list[str]:
    """Return a sentence for each reference that leads nowhere. The rule of PostgreSQL's looks only as it is written."""
    return [
        f"{table} has a row that refers to one of {other} that is not there."
        for table, column, other, key in await connection.fetch(REFERENCES, tables)
        if await connection.fetchval(
            f"SELECT EXISTS (SELECT 1 FROM {table} AS t WHERE {column} IS NOT NULL"  # noqa: S608 - of the catalogue
            f" AND NOT EXISTS (SELECT 1 FROM {other} AS o WHERE o.{key} = t.{column}))"
        )
    ]


async def look_into_archive(archive: Path, programs: str) -> Condition:
    """Return what an archive would restore, after reading all of it. Raises Unusable where it cannot be read."""
    contents = await read_archive(archive, find_programs(programs))
    return Condition(contents, tuple(newer_schema("postgresql", contents.schema)))


class Server(NamedTuple):
    """A server of PostgreSQL, and how it is set up."""

    version: int
    is_standby: bool
    free_connections: int
    """That it has for others than its administrator."""

    clock_ahead: float
    """By how many seconds its clock is ahead of this machine's."""

    settings: Mapping[str, str]


async def describe_server(place: ServerPlace) -> Server:
    """Return how the server is set up. Raises Unusable."""
    async with snapshot(place) as connection:
        before = time.time()
        clock = float(await connection.fetchval("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)"))
        after = time.time()
        settings = dict(await connection.fetch("SELECT name, setting FROM pg_settings"))
        reserved = sum(
            int(settings.get(name, 0)) for name in ("superuser_reserved_connections", "reserved_connections")
        )
        return Server(
            connection.get_server_version().major,
            bool(await connection.fetchval("SELECT pg_is_in_recovery()")),
            int(settings["max_connections"]) - reserved,
            clock - (before + after) / 2,
            settings,
        )
