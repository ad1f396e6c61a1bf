"""The one thread that writes to SQLite, and its group commit.

All writes that wait are run in one transaction, and none is answered before the COMMIT that makes them all durable. A
disk can sync a few thousand times a second; grouped, the same syncs carry many times the writes. There are no
savepoints: a write that is refused has nearly always written nothing yet, and where it has, the group is rolled back
and each of it run alone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import apsw

from sprocket_factory.database import Author
from sprocket_factory.database.sqlite_errors import busy, refusal_for
from sprocket_factory.database.sqlite_transaction import SQLiteTransaction
from sprocket_factory.errors import Busy, Unavailable
from sprocket_factory.observe_metrics import commit_seconds, group_writes

BUSY_SECONDS = 5
"""How long a write waits for others, in this process or another, before it is refused."""


MAX_GROUP = 1000
MAX_WAITING = 10_000

GATHER_SECONDS = 0.01
"""So long a write waits at most for others, as long as each turn of the event loop brings one."""

T = TypeVar("T")


class Job(NamedTuple):
    """One write that waits, and where its caller waits."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    args: tuple[Any, ...]
    by: Author
    alone: bool
    answer: asyncio.Future[Any]
    context: Context  # what is known of the request that it belongs to, for log lines and traces
    since: float


class Outcome(NamedTuple):
    """How one write ended."""

    job: Job
    result: Any = None
    error: Exception | None = None


class Writer:
    """Takes writes from the event loop and answers them there."""

    def __init__(self, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._waiting: deque[Job] = deque()
        self._something_to_do = threading.Condition()
        self._closing = False
        self._waking = False
        self._watching = False
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
        job = Job(function, args, by, alone, answer, copy_context(), self._loop.time())
        if self._closing:
            raise Unavailable("The service is stopping.", hint="Try again in a moment.")
        self._waiting.append(job)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake, 0, self._loop.time() + GATHER_SECONDS)
        if not self._watching:
            self._watching = True
            self._loop.call_later(BUSY_SECONDS, self._withdraw_overdue)
        return await answer

    def count_waiting(self) -> int:
        """Return how many writes wait for their turn."""
        return len(self._waiting)

    def close(self) -> None:
        """Finish what waits, then close the connection. Waits for the thread."""
        with self._something_to_do:
            self._closing = True
            self._something_to_do.notify()
        self._thread.join()

    def _wake(self, seen: int, until: float) -> None:
        # Only when a turn of the loop has brought no further write: woken before, the thread and the loop would take
        # the interpreter's lock from each other, for the very requests whose writes could share its commit.
        waiting = len(self._waiting)
        if waiting > seen and self._loop.time() < until:
            self._loop.call_soon(self._wake, waiting, until)
            return
        self._waking = False
        with self._something_to_do:
            self._something_to_do.notify()

    def _withdraw_overdue(self) -> None:
        # One timer for all, since the first that came has waited the longest. The thread takes from there meanwhile.
        with suppress(IndexError):
            while (left := (job := self._waiting[0]).since + BUSY_SECONDS - self._loop.time()) <= 0:
                with suppress(ValueError):  # it has begun, and its outcome is on the way
                    self._waiting.remove(job)
                    if not job.answer.done():
                        job.answer.set_exception(busy())
            self._loop.call_later(left, self._withdraw_overdue)
            return
        self._watching = False

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
            self._commit()
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
            return Outcome(job, error=refusal_for(error))

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
            self._commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this caller's answer
            self._roll_back()
            return Outcome(job, error=refusal_for(error))
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

    def _commit(self) -> None:
        began = perf_counter()
        try:
            self._connection.execute("COMMIT")
        finally:
            commit_seconds.observe(perf_counter() - began)

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
