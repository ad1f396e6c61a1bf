"""Putting a backup in the place of what a PostgreSQL database holds, in one transaction."""

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import asyncpg

from sprocket_factory.database import TABLES_WITH_IDS, ServerPlace, open_database
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.backup_postgresql import Connection, count_rows, our_tables, snapshot, tables_there
from sprocket_factory.database.checking import MIGRATIONS, NOTHING, Contents, newer_schema
from sprocket_factory.database.given_ids import reserve_ids
from sprocket_factory.database.postgresql_archive import read_archive
from sprocket_factory.database.postgresql_programs import (
    address_for_programs,
    complaint,
    find_programs,
    running,
)
from sprocket_factory.errors import Conflict, Unusable

SERVICE = "sprocket-factory"
"""What connections of servers and commands call themselves."""

RESTORE = ("--file=-", "--no-owner", "--no-privileges")


class Found(NamedTuple):
    """What is in the place where a backup is to go, and how many connections of ours others have there."""

    contents: Contents
    connections: int
    last_ids: Mapping[str, int]


async def restore_postgresql(place: ServerPlace, backup: Path, programs: str, *, force: bool) -> Contents:
    """Put what the backup holds in the place of our tables, and return that.

    Servers that are running meanwhile, with `force`, see all of it at once. No id is given again that either the
    database or the backup has given.

    Raises:
        Conflict: The database holds something or is in use, and `force` is not set.
        Unusable: The backup is no good, a program is missing, or the database is another program's. Everything is as it
            was then.
    """
    found_programs = find_programs(programs)
    contents = await read_archive(backup, found_programs)
    if newer := newer_schema("postgresql", contents.schema):
        raise Unusable(f"{backup} cannot be restored: {' '.join(newer)}")
    where = without_password(place.url)
    async with snapshot(place) as connection:
        found = await look_at(connection, where)
    if not force:
        refuse_loss(where, found)
    await replace_tables(place, backup, found_programs, contents, found.last_ids.keys())
    database = await open_database(
        place.url, password=place.password, must_exist=True, connections=1, through_proxy=place.through_proxy
    )
    try:
        # Those of tables that an older backup has not, and that were only just made.
        await database.write(reserve_ids, found.last_ids, by="restore")
    finally:
        await database.close()
    return contents


async def look_at(connection: Connection, where: str) -> Found:
    """Return what is there. Raises Unusable where it is another program's, or newer than this program."""
    tables = await tables_there(connection)
    if tables and MIGRATIONS not in tables:
        raise Unusable(f"{where} has tables of another program: {', '.join(tables)}.", hint="Choose another database.")
    try:
        contents = await count_rows(connection, tables) if tables else NOTHING
    except asyncpg.UndefinedColumnError as error:
        raise Unusable(f"{where} is another program's database.", hint="Choose another one.") from error
    if newer := newer_schema("postgresql", contents.schema):
        raise Unusable(f"{where} cannot be restored over: {' '.join(newer)}")
    connections = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()",
        SERVICE,
    )
    last_ids = {
        table: int(
            await connection.fetchval(
                "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, 'id')), 0)", table
            )
        )
        for table in set(TABLES_WITH_IDS) & set(tables)
    }
    return Found(contents, int(connections), last_ids)


def refuse_loss(where: str, found: Found) -> None:
    """Raise Conflict where a restore would take something from somebody."""
    hint = "Back it up first; then --force restores over it."
    if found.connections:
        raise Conflict(
            f"{where} is in use: servers or commands have {found.connections} connections to it.",
            hint=f"Stop them. {hint}",
        )
    if not found.contents.is_empty:
        raise Conflict(f"{where} is not empty: {found.contents}.", hint=hint)


async def replace_tables(
    place: ServerPlace, backup: Path, programs: Mapping[str, str], contents: Contents, with_ids: Collection[str]
) -> None:
    """Drop our tables, restore those of the backup and count them, all in one transaction. Raises Unusable.

    Those `with_ids` that are there give no id again that they have given until they were dropped.

    psql reads one script that several write: we the beginning, pg_restore the middle. The end is written only once
    pg_restore has succeeded, so that a script that was cut off is rolled back.
    """
    address = address_for_programs(place)
    names = ", ".join(sorted(our_tables()))
    arguments = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", f"--dbname={address.url}"]
    source, script = _pipe()
    with source, script:
        async with running(
            programs["psql"], *arguments, environment=address.environment, stdin=source.fileno()
        ) as psql:
            source.close()
            listening = asyncio.ensure_future(psql.communicate())
            _write(script, f"BEGIN;\n{_remember(sorted(with_ids))}DROP TABLE IF EXISTS {names};\n")
            async with running(programs["pg_restore"], *RESTORE, str(backup), stdout=script.fileno()) as pg_restore:
                _, complained = await pg_restore.communicate()
            if pg_restore.returncode == 0:
                _write(script, f"{_count_again(contents)}{_reserve(sorted(contents.rows.keys() & with_ids))}COMMIT;\n")
            script.close()
            _, psql_complained = await listening
    for name, process, said in (("psql", psql, psql_complained), ("pg_restore", pg_restore, complained)):
        if process.returncode:
            raise Unusable(complaint(name, said), hint="Everything is as it was.")


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    source, script = os.pipe()
    return os.fdopen(source, "rb"), os.fdopen(script, "wb", buffering=0)


def _write(script: IO[bytes], text: str) -> None:
    with suppress(BrokenPipeError):  # psql has ended, and is asked why in a moment
        script.write(text.encode())


def _count_again(contents: Contents) -> str:
    """Return the statements that fail unless each table has as many rows as the backup."""
    checks = [
        f"IF (SELECT count(*) FROM {table}) <> {count} THEN RAISE EXCEPTION '{table} was not restored whole'; END IF;"  # noqa: S608 - as migrations name it
        for table, count in contents.rows.items()
    ]
    return "\n".join(["RESET search_path;", "DO $$ BEGIN", *checks, "END $$;", ""])


def _remember(tables: Sequence[str]) -> str:
    """Return the statements that let nobody write any more, and keep the last id that each of the tables has given."""
    if not tables:
        return ""
    given = ", ".join(f"coalesce({_last_id(table)}, 0) AS {table}" for table in tables)
    return f"LOCK TABLE {', '.join(tables)};\nSELECT {given} \\gset last_id_of_\n"


def _reserve(tables: Sequence[str]) -> str:
    """Return the statements that let each of the tables give no id up to the one that was kept any more."""
    last_ids = {table: f"greatest(:last_id_of_{table}, {_last_id(table)})" for table in tables}
    return "".join(
        f"SELECT setval({_sequence(table)}, {last_id}) WHERE {last_id} > 0;\n" for table, last_id in last_ids.items()
    )


def _last_id(table: str) -> str:
    return f"pg_sequence_last_value({_sequence(table)})"


def _sequence(table: str) -> str:
    return f"CAST(pg_get_serial_sequence('{table}', 'id') AS regclass)"
