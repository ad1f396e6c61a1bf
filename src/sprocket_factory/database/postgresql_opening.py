"""PostgreSQL as it is opened: connected to, or told why not."""

import asyncio
import os
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from sprocket_factory.database import ServerPlace
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.migrations import Migration, missing_migrations
from sprocket_factory.database.postgresql_migrations import newest_migration
from sprocket_factory.database.postgresql_pool import LOST, Pool, make_pool
from sprocket_factory.errors import Unusable

NEVER = (
    ValueError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ProtocolViolationError,
)
"""Waiting does not mend these."""

FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl"}

START_SECONDS = 10
"""How long a database that is just starting is waited for."""


async def missing_in_postgresql(place: ServerPlace) -> list[Migration]:
    """Return what the schema at this address still needs. Raises Unusable."""
    pool = await connect(place)
    try:
        return missing_migrations("postgresql", await newest_migration(pool))
    except asyncpg.PostgresError as error:
        raise unusable(place, error) from error
    finally:
        await pool.close()


async def connect(place: ServerPlace) -> Pool:
    """Return connections to a database, once there are any. Raises Unusable."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            _check_files(place.url)
            return await make_pool(place)
        except (asyncpg.PostgresError, *LOST, OSError, ValueError) as error:
            may_come = isinstance(error, (*LOST, OSError)) and not isinstance(error, NEVER)
            if not may_come or asyncio.get_running_loop().time() > deadline:
                raise unusable(place, error) from error
        await asyncio.sleep(0.3)


def _check_files(url: str) -> None:
    """Raise Unusable where the address names a file that is not there: the driver would not say which."""
    for name, path in parse_qsl(urlsplit(url).query):
        if name in FILES and not os.access(path, os.R_OK):
            raise Unusable(f"{path} cannot be read.", hint=f"--database-url names it as {name}.")


def unusable(place: ServerPlace, error: BaseException) -> BaseException:
    """Return what the operator is told of a failure while opening."""
    where = without_password(place.url)
    match error:
        case asyncpg.InsufficientPrivilegeError():
            return Unusable(
                f"{where} cannot be brought up to date: {error}.",
                hint="Run `migrate` as a role that may create tables, or GRANT CREATE ON SCHEMA public to this one.",
            )
        case asyncpg.UndefinedColumnError() | asyncpg.DuplicateTableError():
            return Unusable(f"{where} is another program's database.", hint="Choose another --database-url.")
        case asyncpg.ReadOnlySQLTransactionError():
            return Unusable(
                f"{where} is a standby, or read-only.",
                hint="Name the primary, or add ?target_session_attrs=read-write.",
            )
        case asyncpg.ProtocolViolationError():
            return Unusable(
                f"{where} cannot be opened: {error}.",
                hint="If a proxy that pools connections stands in between, say so: --database-through-proxy.",
            )
        case asyncpg.PostgresError() | OSError() | ValueError() | asyncpg.InterfaceError():
            return Unusable(
                f"{where} cannot be opened: {_reason(error)}.",
                hint="Check the address, the password, and whether the database is running.",
            )
    return error


def _reason(error: BaseException) -> str:
    """Return what is told of an error. What Python cannot read of an address may be a part of its password."""
    is_of_the_address = isinstance(error, ValueError) and not isinstance(error, asyncpg.InterfaceError | OSError)
    if is_of_the_address:
        return "it cannot be read; in a password @ is written as %40, / as %2F, and so on"
    return str(error) or type(error).__name__
