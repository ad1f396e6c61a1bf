"""The one thread that writes to SQLite, and its group commit.

All writes that wait are run in one transaction, and none is answered before the COMMIT that makes them all durable. A
disk can sync a few thousand times a second; grouped, the same syncs carry many times the writes. There are no
savepoints: a write that is refused has nearly always written nothing yet, and where it has, the group is rolled back
and each of it run alone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextvars import Context, copy_context
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import apsw

from sprocket_factory.database import STAGED_COLUMNS, Author, Block, Row, Value
from sprocket_factory.database.sqlite_errors import busy, for_caller, refusal_for
from sprocket_factory.errors import Busy, Unavailable
from sprocket_factory.observe_metrics import commit_seconds, group_writes

BUSY_SECONDS = 5
"""How long a write waits for others, in this process or another, before it is refused."""

CHUNK_ROWS = 10_000

MAX_GROUP = 1000
MAX_WAITING = 10_000

T = TypeVar("T")


class Job(NamedTuple):
    """One write that waits, and where its caller waits."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    args: tuple[Any, ...]
    by: Author
    alone: bool
    answer: asyncio.Future[Any]
    context: Context  # what is known of the request that it belongs to, for log lines and traces


class Outcome(NamedTuple):
    """How one write ended."""

    job: Job
    result: Any = None
    error: Exception | None = None


class SQLiteTransaction:
    """A `Transaction` on the writing connection. Only the writer's thread may touch it."""

    new_changes = "changes"
    quarter = "time - time % 900000000"

    def __init__(self, connection: apsw.Connection, by: Author) -> None:
        self.by = by
        self._connection = connection
        self._thread = threading.get_ident()

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        return self._own_connection().execute(sql, values).fetchone()

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        return self._own_connection().execute(sql, values).fetchall()

    async def lock(self, sql: str, **values: Value) -> Row | None:
        """Return the first row. Nobody else writes meanwhile."""
        return await self.one(sql, **values)

    async def share(self, sql: str, **values: Value) -> list[Row]:
        """Return every row. Nobody else writes meanwhile."""
        return await self.all(sql, **values)

    async def hold(self, sql: str, **values: Value) -> None:
        """Do nothing. Nobody else writes meanwhile."""

    async def chunks(self, sql: str, **values: Value) -> AsyncGenerator[list[Row]]:
        """Give every row in chunks."""
        rows = self._own_connection().execute(sql, values)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield chunk

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""
        return next(self._own_connection().execute(sql, values))

    async def run(self, sql: str, **values: Value) -> int:
        """Run one statement and return how many rows it changed."""
        connection = self._own_connection()
        connection.execute(sql, values)
        return connection.changes()

    async def run_last(self, sql: str, **values: Value) -> None:
        """Run one INSERT now: it costs no round trip that could be saved."""
        self._own_connection().execute(sql, values)

    async def reserve_ids(self, table: str, last_id: int) -> None:
        """Let the table give no id up to this one any more."""
        await self.run(
            "DELETE FROM sqlite_sequence WHERE name = :table AND seq < :last_id", table=table, last_id=last_id
        )
        await self.run(
            "INSERT INTO sqlite_sequence (name, seq) SELECT :table, :last_id"
            " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :table)",
            table=table,
            last_id=last_id,
        )

    async def fill(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as they are."""
        places = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names from our own tables
        self._own_connection().executemany(sql, rows)

    async def clear(self, table: str) -> None:
        """Begin to fill a temporary table."""
        self._own_connection().execute(f"DELETE FROM {table}")  # noqa: S608 - one of STAGED_COLUMNS

    async def stage(self, table: str, blocks: Iterable[Block]) -> None:
        """Put rows into a temporary table, beside what is there.

        A block is one statement. Each gives up the interpreter's lock and waits to get it back: row by row, a million
        rows took 10 s beside eight busy connections, and 3 by the thousand. Of over 1,300 rows it would be so long
        that apsw parses it anew each time.
        """
        connection = self._own_connection()
        columns = len(STAGED_COLUMNS[table])
        place = f"({','.join('?' * columns)})"
        for block in blocks:
            places = ",".join([place] * (len(block) // columns))
            connection.execute(f"INSERT INTO {table} VALUES {places}", block.tolist())  # noqa: S608

    def _own_connection(self) -> apsw.Connection:
        if threading.get_ident() != self._thread:
            raise RuntimeError("Only the writer's thread may use a transaction, and only while it lasts.")
        return self._connection


class Writer:
    """Takes writes from the event loop and answers them there."""

    def __init__(self, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._waiting: deque[Job] = deque()
        self._something_to_do = threading.Condition()
        self._closing = False
        self._waking = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(
        self, function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], by: Author, *, alone: bool
    ) -> T:
        """Queue a write and wait until it is durable.

        Raises:
            Busy: Too many wait, or its turn did not come within BUSY_SECONDS. It was not begun then, and never will be.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} writes are waiting already.", hint="Try again in a moment.")
        answer: asyncio.Future[T] = self._loop.create_future()
        job = Job(function, args, by, alone, answer, copy_context())
        if self._closing:
            raise Unavailable("The service is stopping.", hint="Try again in a moment.")
        self._waiting.append(job)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        too_late = self._loop.call_later(BUSY_SECONDS, self._withdraw, job)
        try:
            return await answer
        finally:
            too_late.cancel()

    def count_waiting(self) -> int:
        """Return how many writes wait for their turn."""
        return len(self._waiting)

    def close(self) -> None:
        """Finish what waits, then close the connection. Waits for the thread."""
        with self._something_to_do:
            self._closing = True
            self._something_to_do.notify()
        self._thread.join()

    def _wake(self) -> None:
        # Only after the loop has served what was ready: woken at once, the thread would take the interpreter's lock
        # from the very requests whose writes could share its commit (10,950 posts a second then, 12,100 so).
        self._waking = False
        with self._something_to_do:
            self._something_to_do.notify()

    def _withdraw(self, job: Job) -> None:
        try:
            self._waiting.remove(job)
        except ValueError:
            return  # it has begun, and its outcome is on the way
        if not job.answer.done():
            job.answer.set_exception(busy())

    def _run(self) -> None:
        while self._wait():
            group: list[Job] = []
            try:
                outcomes = self._commit_waiting(group)
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever a group does to it
                outcomes = [Outcome(job, error=error) for job in group]
            self._loop.call_soon_threadsafe(_answer, outcomes)
        self._connection.close()

    def _wait(self) -> bool:
        with self._something_to_do:
            self._something_to_do.wait_for(lambda: self._waiting or self._closing)
        return bool(self._waiting) or not self._closing

    def _commit_waiting(self, group: list[Job]) -> list[Outcome]:
        """Run what waits, and what comes meanwhile, in one transaction; each job taken is put into `group`."""
        if not self._take(group):
            return []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            return [Outcome(group[0], error=refusal_for(error))]
        try:
            outcomes = [self._run_in_group(group[0])]
            while len(group) < MAX_GROUP and not group[0].alone and self._take(group):
                outcomes.append(self._run_in_group(group[-1]))
            with commit_seconds.time():
                self._connection.execute("COMMIT")
            group_writes.observe(len(group))
        except Exception:  # noqa: BLE001 - whatever it is, it comes again to the caller it belongs to
            # One of the group failed after it had written, or the transaction fell: a full disk rolls back all of it,
            # whichever statement met it. So nothing of the group may be answered as done, and each is run alone.
            self._roll_back()
            return [self._commit_alone(job) for job in group]
        return outcomes

    def _run_in_group(self, job: Job) -> Outcome:
        """Run a job that shares its transaction. Raises what the job raised, unless it had written nothing by then."""
        changes_before = self._connection.total_changes()
        try:
            return Outcome(job, self._drive(job))
        except Exception as error:
            if self._connection.total_changes() != changes_before or not self._connection.in_transaction:
                raise
            return Outcome(job, error=for_caller(error))

    def _take(self, group: list[Job]) -> bool:
        try:
            job = self._waiting.popleft()
        except IndexError:
            return False
        if job.alone and group:
            self._waiting.appendleft(job)
            return False
        group.append(job)
        return True

    def _commit_alone(self, job: Job) -> Outcome:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = self._drive(job)
            with commit_seconds.time():
                self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this caller's answer
            self._roll_back()
            return Outcome(job, error=for_caller(error))
        return Outcome(job, result)

    def _drive(self, job: Job) -> Any:
        """Run a write function to its end. Nothing in it can wait, so the first `send` is the last."""
        running = job.function(SQLiteTransaction(self._connection, job.by), *job.args)
        try:
            job.context.run(running.send, None)
        except StopIteration as end:
            return end.value
        running.close()
        raise RuntimeError(f"{job.function.__name__} waits for something other than its transaction.")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _answer(outcomes: list[Outcome]) -> None:
    for job, result, error in outcomes:
        if job.answer.done():
            continue  # its caller has gone
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)
