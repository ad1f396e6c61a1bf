"""How the schema on PostgreSQL is brought up to date: each migration once, however many servers start at once.

A migration and its number are stored in one transaction, the number first. Whoever else is at the same one waits there,
as for any row of the same key, and meets it once the other has done it; no lock is asked for that other engines lack.
"""

import asyncpg

from sprocket_factory.database import ServerPlace
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.migrations import Migration, missing_migrations
from sprocket_factory.database.postgresql_pool import FOR_EVER, Connection, Pool, acquired
from sprocket_factory.errors import Unusable

WITHOUT_LIMIT = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0"
"""An index on years of records takes minutes, and so does waiting for who makes it."""


async def bring_up_to_date(pool: Pool, place: ServerPlace, *, must_exist: bool) -> int:
    """Return the number of the newest migration before this; 0 where there was none. Raises Unusable."""
    applied = await newest_migration(pool)
    if must_exist and not applied:
        raise Unusable(
            f"There are no tables of ours at {without_password(place.url)}.",
            hint="Check the address, or leave --must-exist out to make them.",
        )
    async with acquired(pool, is_patient=True) as connection:
        while missing := missing_migrations("postgresql", await _newest(connection)):
            try:
                await _apply(connection, missing[0])
            except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
                # Another server has just done it; or else another program has a table of ours.
                if await _newest(connection) < missing[0].number:
                    raise
    return applied


async def newest_migration(pool: Pool) -> int:
    """Return the number of the newest migration; 0 where there is none."""
    async with acquired(pool) as connection:
        return await _newest(connection)


async def _newest(connection: Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('migrations')") is None:
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM migrations"))


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction(isolation="read_committed"):  # it sees all there is once it has its locks
        await connection.execute(WITHOUT_LIMIT)
        if await connection.fetchval("SELECT to_regclass('migrations')") is None:
            await connection.execute(
                "CREATE TABLE migrations"
                " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)",
                timeout=FOR_EVER,
            )
        await connection.execute(
            "INSERT INTO migrations (number, name, applied_at) VALUES ($1, $2, now())",
            migration.number,
            migration.name,
            timeout=FOR_EVER,
        )
        await connection.execute(migration.sql, timeout=FOR_EVER)
