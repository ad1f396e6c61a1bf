"""The door to storage: one `Database` with the same few asynchronous verbs on every engine.

SQL is plain text with `:named` parameters, and values only ever travel as parameters. Instants travel as whole
microseconds (entities/instant.py).
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, TypeVarTuple

from sprocket_factory.database.addresses import is_postgresql, path_of
from sprocket_factory.database.migrations import Migration

Value = int | float | str | bytes | None
Row = tuple[Any, ...]
Measures = Mapping[str, float]

NO_VALUES: Mapping[str, Value] = MappingProxyType({})

STAGED_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "incoming": ("factory_id", "time", "row_number", "actual", "goal"),
        "touched": ("factory_id", "day", "start", "until"),
    }
)
"""The temporary tables of a write, with their columns: whole numbers, or instants."""

Block: TypeAlias = "array[int]"
"""Rows of a temporary table, up to a few thousand, one behind the other: eight bytes (`q`) for each of its columns."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TABLES_WITH_IDS = ("sprockets", "factories", "keys", "changes")
"""Those whose ids the database gives."""


class Author(NamedTuple):
    """Who writes, in words that people understand, and for which request; its id is empty where there was none."""

    name: str
    request_id: str


class ServerPlace(NamedTuple):
    """Where a database server is, and how to get there."""

    url: str
    password: str
    connections: int
    through_proxy: bool


class Reader(Protocol):
    """What can be read from: the database as it stands, or a transaction that sees its own writes."""

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none. For what is surely short."""

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row. For what is surely short."""


class Transaction(Reader, Protocol):
    """What a write function writes through. It ends when the function does: whole, or without a trace."""

    by: Author
    """Who writes."""

    new_changes: str
    """The table that takes new entries for the record of changes (entities/change.py)."""

    quarter: str
    """SQL for the quarter-hour of UTC that the column `time` lies in."""

    async def lock(self, sql: str, **values: Value) -> Row | None:
        """Return the first row of a SELECT, and keep it as it is for everybody else until the transaction ends."""

    async def share(self, sql: str, **values: Value) -> list[Row]:
        """Return every row of a SELECT, and keep anybody from locking or removing one until the transaction ends.

        Others may share them.
        """

    async def hold(self, sql: str, **values: Value) -> None:
        """Run a statement by which rows are kept from everybody else before they are changed.

        It is not run where nobody else writes meanwhile, so that a write that is refused has written nothing.
        """

    def chunks(self, sql: str, **values: Value) -> AsyncGenerator[list[Row]]:
        """Give every row in chunks, as they stood at the first; other statements may be run in between."""

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""

    async def run(self, sql: str, **values: Value) -> int:
        """Run one statement and return how many rows it changed."""

    async def run_last(self, sql: str, **values: Value) -> None:
        """Run one INSERT before the transaction ends, behind all that is run until then or just now."""

    async def reserve_ids(self, table: str, last_id: int) -> None:
        """Let the table give no id up to this one any more. `table` is one of TABLES_WITH_IDS."""

    async def fill(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as they are, each with a value for each of these columns."""

    async def clear(self, table: str) -> None:
        """Begin to fill a temporary table: one of STAGED_COLUMNS."""

    async def stage(self, table: str, blocks: Iterable[Block]) -> None:
        """Put rows into a temporary table that was cleared, beside what is there, for the statements that follow.

        The blocks are read as it goes and never held whole.
        """


class Overtaken(Exception):  # noqa: N818 - asks for another attempt
    """A write function found that what it rests on was changed meanwhile: it is to be run again."""


class Database(ABC):
    """A place where things are kept. An abstract class, for Litestar checks what it injects and a Protocol is slow."""

    location: str
    """Where the data lies, for people: an absolute path or an address without its password."""

    max_streams: int
    """So many streams may be open at once."""

    engine: str
    """What it is: SQLite or PostgreSQL, and its version."""

    is_new: bool
    """Whether opening it made it."""

    @abstractmethod
    def stamp(self) -> float:
        """Return what stays the same for as long as what was read may be taken for what is stored."""

    @abstractmethod
    async def one(self, sql: str, **values: Value) -> Row | None:
        """As a Reader's."""

    @abstractmethod
    async def all(self, sql: str, **values: Value) -> list[Row]:
        """As a Reader's."""

    @abstractmethod
    async def write(
        self,
        function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        by: str,
        request_id: str = "",
        alone: bool = False,
    ) -> T:
        """Run a write function in a transaction and return its result once that is durable.

        Args:
            function: Reads and writes through the transaction alone. It may be run again, so it keeps no state.
            args: What the function is given after the transaction.
            by: Who writes, in words that people understand.
            request_id: For which request.
            alone: It may take seconds, so no other write shares its transaction: those that would have to wait too
                long for it are refused instead.

        Raises:
            Refusal: What the function raised, Busy, Unavailable or StorageFull; nothing of it is stored then.
        """

    @abstractmethod
    async def read(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False
    ) -> list[T]:
        """Return `make(*row)` for every row of a statement that has a LIMIT.

        Args:
            make: What a row becomes.
            sql: The statement.
            values: Its parameters.
            scans: It may have to look at many more rows than it gives. Then it runs under a time limit, and where it
                holds up nobody else.

        Raises:
            Busy: Its turn did not come in time.
            TooSlow: It took longer than allowed.
        """

    @abstractmethod
    def stream(
        self, make: Callable[..., T], sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False
    ) -> AsyncGenerator[list[T]]:
        """Give `make(*row)` for every row, in chunks, from one consistent snapshot, in constant memory.

        Arguments are those of `read`, but the statement has no LIMIT.

        Raises:
            Busy: More streams are open than the database allows. Raised before the first chunk.
            TooSlow: A chunk took longer to find than allowed.
        """

    def few(
        self,
        make: Callable[..., T],  # noqa: ARG002 - as of `stream`
        sql: str,  # noqa: ARG002
        values: Mapping[str, Value] = NO_VALUES,  # noqa: ARG002
        *,
        scans: bool = False,  # noqa: ARG002
    ) -> list[T] | None:
        """Return what `stream` gives, if that is so little that it is there at once; None if it is not, or may not be.

        Only a database in this process can say so without asking twice.
        """
        return None

    @abstractmethod
    async def order_changes(self) -> None:
        """Let every change that is committed have its position in the record of changes.

        Raises:
            Refusal: It cannot be done now. What has its position keeps it.
        """

    @abstractmethod
    async def last_id(self, table: str) -> int:
        """Return the last id that the table has given, whether its row is still there or not; 0 for none."""

    @abstractmethod
    async def check(self) -> None:
        """Return if it can be read and written, and has this program's schema. Raises Unavailable or StorageFull."""

    @abstractmethod
    def measures(self) -> Measures:
        """Return what can be measured of it now, by the name of the metric (observe_metrics.py). Asks nobody."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of everything."""


async def open_database(  # noqa: PLR0913 - one for each thing to be known of a database
    url: str,
    *,
    password: str = "",
    must_exist: bool = False,
    connections: int = 10,
    through_proxy: bool = False,
    max_streams: int = 8,
) -> Database:
    """Open the database at this address, make it if there is none, and bring its schema up to date.

    Args:
        url: `sqlite:///relative/file.db`, `sqlite:////absolute/file.db` or `postgresql://user@host/name`.
        password: For a server, where the address has none.
        must_exist: Refuse to make a new database.
        connections: To a server: how many at most.
        through_proxy: Between us and the server a proxy gives out connections anew for each transaction.
        max_streams: As many streams may be open at once; to a server, no more than a third of the connections.

    Raises:
        Unusable: It is no database of ours, its schema is newer than this program, it is damaged, or it is missing
            and `must_exist` is set.
    """
    if is_postgresql(url):
        from sprocket_factory.database.postgresql import open_postgresql  # noqa: PLC0415 - only the engine in use

        place = ServerPlace(url, password, connections, through_proxy)
        return await open_postgresql(place, must_exist=must_exist, max_streams=max_streams)
    from sprocket_factory.database.sqlite import open_sqlite  # noqa: PLC0415 - as above

    return open_sqlite(path_of(url), must_exist=must_exist, max_streams=max_streams)


async def list_missing_migrations(url: str, *, password: str = "", through_proxy: bool = False) -> list[Migration]:
    """Return what the schema at this address still needs, and change nothing. Raises Unusable."""
    if is_postgresql(url):
        from sprocket_factory.database.postgresql_opening import missing_in_postgresql  # noqa: PLC0415 - as above

        return await missing_in_postgresql(ServerPlace(url, password, 1, through_proxy))
    from sprocket_factory.database.sqlite_opening import missing_in_sqlite  # noqa: PLC0415 - as above

    return missing_in_sqlite(path_of(url))
