"""Connections to PostgreSQL, and what it has of its own: placeholders, instants, errors."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any

import asyncpg

from sprocket_factory.database import ServerPlace
from sprocket_factory.errors import Busy, StorageFull, TooSlow, Unavailable
from sprocket_factory.observe import log

CONNECT_SECONDS = 1.5
COMMAND_SECONDS = 15
"""A statement that the server's own limit has not ended by then is that of a server that hangs."""

RELEASE_SECONDS = 2

ACQUIRE_SECONDS = 5
"""How long a request waits for a connection before it is refused."""

SERVER_SETTINGS = {
    "application_name": "sprocket-factory",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",  # it takes longer to compile these statements than to run them
}

MICROSECONDS_TO_2000 = 946_684_800_000_000
"""PostgreSQL counts microseconds too, but from 2000-01-01 on."""

LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    TimeoutError,
)
"""The connection was refused, is gone, or is about to be."""

MAX_REMEMBERED = 4000
"""A longer statement names choices by the hundred, and hardly comes again."""

_NAMED = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")

Connection = Any
Pool = Any
"""asyncpg's; it says less about their types than it should."""


class UnresetConnection(asyncpg.Connection):
    """A connection that goes back to the pool without a round trip: nothing here changes the session."""

    def get_reset_query(self) -> str:
        """Return what is run before another takes the connection: nothing."""
        return ""


def translate(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with `$1` in place of `:name`, and the names in that order."""
    return _translate_once(sql) if len(sql) <= MAX_REMEMBERED else _translate(sql)


def _translate(sql: str) -> tuple[str, tuple[str, ...]]:
    numbers: dict[str, int] = {}
    translated = _NAMED.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}", sql)
    return translated, tuple(numbers)


_translate_once = lru_cache(maxsize=1000)(_translate)


async def make_pool(place: ServerPlace) -> Pool:
    """Return a pool of connections. Through a proxy that pools transactions, no session is relied on."""
    return await asyncpg.create_pool(
        place.url,
        password=place.password or None,
        min_size=1,
        max_size=place.connections,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        connection_class=UnresetConnection,
        init=_prepare,
        statement_cache_size=0 if place.through_proxy else 200,
        server_settings={} if place.through_proxy else SERVER_SETTINGS,
    )


@asynccontextmanager
async def acquired(pool: Pool) -> AsyncIterator[Connection]:
    """Give a connection. Raises Busy or Unavailable where there is none in time."""
    try:
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
    except TimeoutError:
        if pool.get_size() >= pool.get_max_size() and not pool.get_idle_size():
            raise Busy("Every connection to the database is in use.", hint="Try again in a moment.") from None
        raise _unavailable() from None
    except OSError as error:
        raise _unavailable() from error
    try:
        yield connection
    finally:
        # What fails here concerns the connection, which is closed then, and not the work that was done on it: after a
        # COMMIT it would look as if that had to be done again.
        with suppress(asyncpg.PostgresError, *LOST):
            await pool.release(connection, timeout=RELEASE_SECONDS)


@contextmanager
def refusals_raised() -> Iterator[None]:
    """Raise what a failure of the database stands for in its place."""
    try:
        yield
    except (asyncpg.PostgresError, *LOST) as error:
        raise refusal_for(error) from error


def refusal_for(error: Exception) -> Exception:
    """Return what a caller is told when PostgreSQL fails: a refusal where it is one, else the error itself."""
    refusal = error
    match error:
        case asyncpg.DataError():
            pass  # an InterfaceError as well, but a bug of ours
        case asyncpg.QueryCanceledError():
            refusal = TooSlow("This takes longer than is allowed.", hint="Narrow it down, or sort by the key.")
        case asyncpg.LockNotAvailableError() | asyncpg.TransactionRollbackError():
            refusal = Busy("Other writes hold what this one needs.", hint="Try again in a moment.")
        case asyncpg.TooManyConnectionsError():
            refusal = Busy("The database takes no more connections.", hint="Try again in a moment.")
        case asyncpg.DiskFullError():
            refusal = StorageFull("The storage is full.", hint="Reading goes on; make room on its disk.")
        case asyncpg.ReadOnlySQLTransactionError():
            refusal = Unavailable("The database is a standby for now.", hint="Try again in a moment.")
        case _ if isinstance(error, LOST):
            log.warning("the database does not answer: %r", error)
            refusal = _unavailable()
    return refusal


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer.", hint="Try again in a moment.")


async def _prepare(connection: Connection) -> None:
    """Let instants travel as whole microseconds since 1970, as on every engine."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=lambda instant: (instant - MICROSECONDS_TO_2000,),
        decoder=lambda parts: parts[0] + MICROSECONDS_TO_2000,
        format="tuple",
    )
