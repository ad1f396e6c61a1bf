"""Backups of a PostgreSQL database by PostgreSQL's own programs, and the way back.

A backup is an archive of pg_dump's custom format that holds our tables and nothing else. It is not believed: all of it
is read again, and the rows of each table are counted against the snapshot that was dumped.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from sprocket_factory.database import ServerPlace
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.backup_files import partial_beside, put_in_place
from sprocket_factory.database.checking import MIGRATIONS, NOTHING, SESSIONS, UNCOUNTED, Contents
from sprocket_factory.database.migrations import migrations_for
from sprocket_factory.database.postgresql_archive import read_archive
from sprocket_factory.database.postgresql_opening import unusable
from sprocket_factory.database.postgresql_programs import (
    address_for_programs,
    check_version,
    complaint,
    find_programs,
    running,
)
from sprocket_factory.errors import Unusable

Connection = Any
"""asyncpg's; it says less about its types than it should."""

CONNECT_SECONDS = 10

WITHOUT_LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"


async def back_up_postgresql(place: ServerPlace, target: Path, programs: str) -> Contents:
    """Dump the database as it is at this moment, read the whole dump again, and only then call it by its name.

    Raises:
        Unusable: A program is missing or older than the server, or the server or the file cannot be used.
        StorageFull: There is no room for the file.
    """
    found = find_programs(programs)
    if place.through_proxy:
        raise Unusable(
            "A backup cannot be made through a proxy that pools transactions.",
            hint="Name PostgreSQL itself in --database-url, and leave --database-through-proxy out.",
        )
    address = address_for_programs(place)
    with partial_beside(target) as partial:
        async with snapshot(place) as connection:
            await check_version(found["pg_dump"], connection.get_server_version().major)
            if not (tables := await tables_there(connection)):
                raise Unusable(
                    f"There are no tables of ours at {without_password(place.url)}.", hint="Check the address."
                )
            name = await connection.fetchval("SELECT pg_export_snapshot()")
            arguments = [
                "--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--no-password",
                "--lock-wait-timeout=30s", f"--snapshot={name}", f"--file={partial}", f"--dbname={address.url}",
                *(f"--table={table}" for table in tables), f"--exclude-table-data={SESSIONS}",
            ]  # fmt: skip
            async with running(found["pg_dump"], *arguments, environment=address.environment) as process:
                _, said = await process.communicate()
            if process.returncode:
                raise Unusable(complaint("pg_dump", said), hint="No backup was made.")
            dumped = await count_rows(connection, tables)
        read = await read_archive(partial, found)
        if read != dumped:
            raise Unusable(f"The backup holds {read}, and the database {dumped}.", hint="No backup was kept.")
        await asyncio.to_thread(put_in_place, partial, target)
    return dumped


@asynccontextmanager
async def snapshot(place: ServerPlace) -> AsyncIterator[Connection]:
    """Give a connection that sees one snapshot, changes nothing, and takes as long as it needs. Raises Unusable."""
    try:
        # No statement is kept: between us and the server there may be a proxy.
        connection = await asyncpg.connect(
            place.url, password=place.password or None, timeout=CONNECT_SECONDS, statement_cache_size=0
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise unusable(place, error) from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(WITHOUT_LIMITS)
            yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        raise Unusable(
            f"{without_password(place.url)} failed: {str(error) or type(error).__name__}.", hint="Look into its log."
        ) from error
    finally:
        connection.terminate()


def our_tables() -> frozenset[str]:
    """Return the names of all tables that our migrations have ever made."""
    scripts = [migration.sql for migration in migrations_for("postgresql")]
    return frozenset(re.findall(r"^CREATE TABLE (\w+)", "\n".join(scripts), re.MULTILINE)) | {MIGRATIONS}


async def tables_there(connection: Connection) -> list[str]:
    """Return which of our tables the connection finds."""
    sql = "SELECT name FROM unnest(CAST($1 AS text[])) AS ours (name) WHERE to_regclass(name) IS NOT NULL ORDER BY name"
    return [str(name) for (name,) in await connection.fetch(sql, sorted(our_tables()))]


async def count_rows(connection: Connection, tables: list[str]) -> Contents:
    """Return what these tables hold in the connection's snapshot."""
    if MIGRATIONS not in tables:
        return NOTHING
    schema = await connection.fetchval(f"SELECT coalesce(max(number), 0) FROM {MIGRATIONS}")  # noqa: S608
    rows = {
        table: int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 - as migrations name it
        for table in tables
        if table not in UNCOUNTED
    }
    return Contents(int(schema), rows)
