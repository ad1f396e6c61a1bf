"""The one thread that writes to SQLite, and its group commit.

All writes that wait are taken together, each in its savepoint, and none is answered before the one COMMIT that makes
them all durable. A disk can sync a few thousand times a second; grouped, the same syncs carry many times the writes.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

import apsw

from sprocket_factory.database import Row, Value
from sprocket_factory.errors import Busy, Refusal, StorageFull, Unavailable

BUSY_SECONDS = 5
"""How long a write waits for others, in this process or another, before it is refused."""

MAX_GROUP = 1000
MAX_WAITING = 10_000

T = TypeVar("T")


class Job(NamedTuple):
    """One write that waits, and where its caller waits."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    args: tuple[Any, ...]
    by: str
    answer: asyncio.Future[Any]


class Outcome(NamedTuple):
    """How one write ended."""

    job: Job
    result: Any = None
    error: Exception | None = None


class SQLiteTransaction:
    """A `Transaction` on the writing connection. Only the writer's thread may touch it."""

    def __init__(self, connection: apsw.Connection, by: str) -> None:
        self.by = by
        self._connection = connection
        self._thread = threading.get_ident()

    async def one(self, sql: str, **values: Value) -> Row | None:
        """Return the first row, or None where there is none."""
        return self._own_connection().execute(sql, values).fetchone()

    async def all(self, sql: str, **values: Value) -> list[Row]:
        """Return every row."""
        return self._own_connection().execute(sql, values).fetchall()

    async def first(self, sql: str, **values: Value) -> Row:
        """Return the first row of a statement that always gives one."""
        return next(self._own_connection().execute(sql, values))

    async def run(self, sql: str, **values: Value) -> int:
        """Run one statement and return how many rows it changed."""
        connection = self._own_connection()
        connection.execute(sql, values)
        return connection.changes()

    async def stage(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Put rows into the table `incoming` in place of what is there."""
        connection = self._own_connection()
        connection.execute("DELETE FROM incoming")
        connection.executemany("INSERT INTO incoming VALUES (?, ?, ?, ?, ?)", rows)

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
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], by: str) -> T:
        """Queue a write and wait until it is durable.

        Raises:
            Busy: Too many wait, or its turn did not come within BUSY_SECONDS. It was not begun then, and never will be.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} writes are waiting already.", hint="Try again in a moment.")
        answer: asyncio.Future[T] = self._loop.create_future()
        job = Job(function, args, by, answer)
        with self._something_to_do:
            if self._closing:
                raise Unavailable("The service is stopping.", hint="Try again in a moment.")
            self._waiting.append(job)
            self._something_to_do.notify()
        too_late = self._loop.call_later(BUSY_SECONDS, self._withdraw, job)
        try:
            return await answer
        finally:
            too_late.cancel()

    def close(self) -> None:
        """Finish what waits, then close the connection. Waits for the thread."""
        with self._something_to_do:
            self._closing = True
            self._something_to_do.notify()
        self._thread.join()

    def _withdraw(self, job: Job) -> None:
        with self._something_to_do:
            if job not in self._waiting:
                return  # it has begun, and its outcome is on the way
            self._waiting.remove(job)
        if not job.answer.done():
            job.answer.set_exception(_busy())

    def _run(self) -> None:
        while group := self._take():
            try:
                outcomes = self._commit(group)
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever a group does to it
                outcomes = [Outcome(job, error=error) for job in group]
            self._loop.call_soon_threadsafe(_answer, outcomes)
        self._connection.close()

    def _take(self) -> list[Job]:
        with self._something_to_do:
            self._something_to_do.wait_for(lambda: self._waiting or self._closing)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]

    def _commit(self, group: list[Job]) -> list[Outcome]:
        """Run a group in one transaction; where that falls, run each of its writes alone."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            return [Outcome(job, error=refusal_for(error)) for job in group]
        if len(group) == 1:
            return [self._finish_alone(group[0])]
        try:
            outcomes = [self._in_savepoint(job) for job in group]
            self._connection.execute("COMMIT")
        except apsw.Error:
            # A full disk, say, rolls back the whole transaction, whichever statement met it. What stood before it in
            # the group is gone as well, so nothing of the group may be answered as done.
            self._roll_back()
            return [outcome for job in group for outcome in self._commit([job])]
        return outcomes

    def _in_savepoint(self, job: Job) -> Outcome:
        self._connection.execute("SAVEPOINT one_write")
        try:
            result = self._drive(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this caller's answer and nobody else's
            self._connection.execute("ROLLBACK TO one_write")  # raises where the transaction is gone
            self._connection.execute("RELEASE one_write")
            return Outcome(job, error=_for_caller(error))
        self._connection.execute("RELEASE one_write")
        return Outcome(job, result)

    def _finish_alone(self, job: Job) -> Outcome:
        try:
            result = self._drive(job)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - as above
            self._roll_back()
            return Outcome(job, error=_for_caller(error))
        return Outcome(job, result)

    def _drive(self, job: Job) -> Any:
        """Run a write function to its end. Nothing in it can wait, so the first `send` is the last."""
        running = job.function(SQLiteTransaction(self._connection, job.by), *job.args)
        try:
            running.send(None)
        except StopIteration as end:
            return end.value
        running.close()
        raise RuntimeError(f"{job.function.__name__} waits for something other than its transaction.")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def refusal_for(error: apsw.Error) -> Exception:
    """Return what a caller is told when SQLite fails: a refusal where it is one, else the error itself."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return _busy()
        case apsw.FullError() | apsw.ReadOnlyError():
            return StorageFull("The storage is full or read-only.", hint="Reading goes on; make room on its disk.")
        case apsw.IOError() | apsw.CantOpenError():
            return Unavailable("The storage does not answer.", hint="Try again in a moment.")
    return error


def _for_caller(error: Exception) -> Exception:
    return refusal_for(error) if isinstance(error, apsw.Error) else error


def _busy() -> Refusal:
    return Busy("Another write holds the database.", hint="Try again in a moment.")


def _answer(outcomes: list[Outcome]) -> None:
    for job, result, error in outcomes:
        if job.answer.done():
            continue  # its caller has gone
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)
