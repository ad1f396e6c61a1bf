"""Connections to PostgreSQL, and what it has of its own: placeholders, instants, errors."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any

import asyncpg

from sprocket_factory.database import Measures, ServerPlace
from sprocket_factory.database.postgresql_hosts import UnresetConnection, connect
from sprocket_factory.database.postgresql_watch import Watch
from sprocket_factory.errors import Busy, StorageFull, TooSlow, Unavailable
from sprocket_factory.observe_statements import log

CONNECT_SECONDS = 1.5
COMMAND_SECONDS = 15
"""A statement that the server's own limit has not ended by then is given up, even where the server itself lives."""

FOR_EVER = 86_400.0
"""In seconds. The driver takes None for its own time limit."""

CLOSE_SECONDS = 5

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
    asyncpg.InternalClientError,
    TimeoutError,
)
"""The connection was refused, is gone, or is about to be. The driver takes it for an error of its own where the server
says farewell between two statements."""

MAX_REMEMBERED = 4000
"""A longer statement names choices by the hundred, and hardly comes again."""

_NAMED = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")

Connection = Any
"""asyncpg's; it says less about their types than it should."""


class Pool:
    """Connections to a database, and the watch over its server."""

    def __init__(self, place: ServerPlace) -> None:
        self.max_size = place.connections
        self._waiting = 0
        self.watch = Watch(self._connect)
        # Through a proxy that pools transactions no session is relied on.
        self._options: dict[str, Any] = {
            "password": place.password or None,
            "timeout": CONNECT_SECONDS,
            "command_timeout": COMMAND_SECONDS,
            "connection_class": UnresetConnection,
            "statement_cache_size": 0 if place.through_proxy else 200,
            "server_settings": {} if place.through_proxy else SERVER_SETTINGS,
        }
        self._url = place.url
        pooling: dict[str, Any] = {
            "min_size": 0,
            "max_size": place.connections,
            "init": self._prepare,
            "connect": self._connect_or_refuse,
        }
        self._pool: Any = asyncpg.create_pool(place.url, **pooling, **self._options)

    async def open(self) -> None:
        """Make sure that there is a server. Raises what keeps it from being connected to."""
        await self._pool
        async with self._pool.acquire():
            pass

    async def acquire(self, seconds: float) -> Connection:
        """Return a connection. Raises Busy or Unavailable where there is none in time."""
        if self.watch.is_away:
            self.watch.look_on()
            raise _unavailable()
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=seconds)
        except TimeoutError:
            if self._pool.get_size() >= self.max_size and not self._pool.get_idle_size():
                raise Busy("Every connection to the database is in use.", hint="Try again in a moment.") from None
            raise _unavailable() from None
        except OSError as error:
            raise _unavailable() from error
        finally:
            self._waiting -= 1

    def measures(self) -> Measures:
        """Return how many connections there are, and how many wait for one."""
        return {
            "sprocket_database_connections_open": self._pool.get_size(),
            "sprocket_database_connections_idle": self._pool.get_idle_size(),
            "sprocket_database_connections_waiting": self._waiting,
        }

    async def release(self, connection: Connection) -> None:
        """Take a connection back."""
        # What fails here concerns the connection, which is closed then, and not the work that was done on it: after a
        # COMMIT it would look as if that had to be done again.
        with suppress(asyncpg.PostgresError, *LOST):
            await self._pool.release(connection, timeout=RELEASE_SECONDS)

    async def forget(self) -> None:
        """Connect anew from now on: the server is not what it was."""
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Finish what was begun and let go of every connection."""
        await self.watch.close()
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    async def _connect(self) -> UnresetConnection:
        return await connect(self._url, **self._options)

    async def _connect_or_refuse(self, url: str, **options: Any) -> UnresetConnection:
        if self.watch.is_away:
            raise ConnectionRefusedError(url)
        began = asyncio.get_running_loop().time()
        try:
            return await connect(url, **options)
        except TimeoutError:
            self.watch.miss(began)
            raise

    async def _prepare(self, connection: Connection) -> None:
        """Let instants travel as whole microseconds since 1970, as on every engine."""
        self.watch.add(connection)
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            encoder=lambda instant: (instant - MICROSECONDS_TO_2000,),
            decoder=lambda parts: parts[0] + MICROSECONDS_TO_2000,
            format="tuple",
        )


def translate(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with `$1` in place of `:name`, and the names in that order."""
    return _translate_once(sql) if len(sql) <= MAX_REMEMBERED else _translate(sql)


def _translate(sql: str) -> tuple[str, tuple[str, ...]]:
    numbers: dict[str, int] = {}
    translated = _NAMED.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}", sql)
    return translated, tuple(numbers)


_translate_once = lru_cache(maxsize=1000)(_translate)


async def make_pool(place: ServerPlace) -> Pool:
    """Return a pool of connections. Raises what keeps it from having any."""
    pool = Pool(place)
    try:
        await pool.open()
    except BaseException:
        await pool.close()
        raise
    return pool


@asynccontextmanager
async def acquired(
    pool: Pool, *, is_patient: bool = False, seconds: float = ACQUIRE_SECONDS
) -> AsyncIterator[Connection]:
    """Give a connection. Raises Busy or Unavailable where there is none within so many seconds.

    What is patient may take long, and is not given up as soon as its server seems to hang.
    """
    connection = await pool.acquire(seconds)
    use = pool.watch.begin(connection, is_patient=is_patient)
    is_heard = False
    try:
        yield connection
        is_heard = True
    except asyncpg.InternalClientError:
        drop(connection)
        raise
    except asyncpg.ReadOnlySQLTransactionError:
        await pool.forget()  # it was the primary when it was connected to; there may be another one now
        raise
    finally:
        pool.watch.end(use, is_heard=is_heard)
        await pool.release(connection)


def drop(connection: Connection) -> None:
    """Give up a connection that is of no use any more."""
    with suppress(asyncpg.InterfaceError):  # it is gone from the pool already
        connection.terminate()


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
            log.warning("the database does not answer", cause=repr(error))
            refusal = _unavailable()
    return refusal


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer.", hint="Try again in a moment.")
