"""The door to storage: one `Database` with the same few asynchronous verbs on every engine.

SQL is plain text with `:named` parameters, and values only ever travel as parameters. Instants travel as whole
microseconds (entities/instant.py).
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar, TypeVarTuple
from urllib.parse import unquote, urlsplit

from sprocket_factory.errors import Unusable

Value = int | float | str | bytes | None
Row = tuple[Any, ...]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Reader(Protocol):
    """What can be read from: the database as it stands, or a transaction that sees its own writes."""

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none. For what is surely short."""

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row. For what is surely short."""


class Transaction(Reader, Protocol):
    """What a write function writes through. It ends when the function does: whole, or without a trace."""

    by: str
    """Who writes."""

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""

    async def run(self, sql: str, **values: Value) -> int:
        """Run one statement and return how many rows it changed."""

    async def stage(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Put rows into the table `incoming` in place of what is there, for the statements that follow.

        A row is factory_id, time, row_number, actual, goal. `rows` is read as it goes and never held whole.
        """


class Database(ABC):
    """A place where things are kept. An abstract class, for Litestar checks what it injects and a Protocol is slow."""

    location: str
    """Where the data lies, for people: an absolute path or an address without its password."""

    is_new: bool
    """Whether opening it made it."""

    @abstractmethod
    async def one(self, sql: str, **values: Value) -> Row | None:
        """As a Reader's."""

    @abstractmethod
    async def all(self, sql: str, **values: Value) -> list[Row]:
        """As a Reader's."""

    @abstractmethod
    async def write(self, function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]], *args: *Ts, by: str) -> T:
        """Run a write function in a transaction and return its result once that is durable.

        Args:
            function: Reads and writes through the transaction alone. It may be run again, so it keeps no state.
            args: What the function is given after the transaction.
            by: Who writes; the function finds it as the transaction's `by`.

        Raises:
            Refusal: What the function raised, Busy, Unavailable or StorageFull; nothing of it is stored then.
        """

    @abstractmethod
    def stream(self, make: Callable[..., T], sql: str, **values: Value) -> AsyncGenerator[list[T]]:
        """Give `make(*row)` for every row, in chunks, from one consistent snapshot, in constant memory.

        Raises:
            Busy: More streams are open than the database allows. Raised before the first chunk.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of everything."""


async def open_database(url: str, *, must_exist: bool = False) -> Database:
    """Open the database at this address, make it if there is none, and bring its schema up to date.

    Args:
        url: `sqlite:///relative/file.db` or `sqlite:////absolute/file.db`.
        must_exist: Refuse to make a new database.

    Raises:
        Unusable: It is no database of ours, its schema is newer than this program, it is damaged, or it is missing
            and `must_exist` is set.
    """
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise Unusable(
            f"{url!r} is no database address.",
            hint="Write sqlite:///file.db for a file here, or sqlite:////folder/file.db for an absolute path.",
        )
    from sprocket_factory.database.sqlite import open_sqlite  # noqa: PLC0415 - only the engine in use is loaded

    return open_sqlite(Path(unquote(parts.path[1:])), must_exist=must_exist)
