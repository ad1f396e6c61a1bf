"""The trial: the writer that the design describes behind plain Litestar, and nothing else.

The design's target for durable POSTs comes from a trial of this shape (architecture.md, "Storage" and "Measurements"):
what this reaches on a machine is what that target means there. It checks only types, logs nothing, and knows no errors
beyond Litestar's own. Run as `python -m benchmarks.baselines.trial --port P --database FILE`.
"""

import asyncio
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import apsw
import msgspec
from litestar import Litestar, Request, get, post

from benchmarks.baselines.asgi import run
from benchmarks.baselines.table import (
    SPROCKETS_PATH,
    NewSprocket,
    Sprocket,
    insert,
    list_all,
    open_connection,
    open_with_table,
)


class Job(NamedTuple):
    """One write that waits, and where its caller waits."""

    new: NewSprocket
    answer: asyncio.Future[Sprocket]


class Outcome(NamedTuple):
    """How one write ended."""

    job: Job
    result: Sprocket | Exception


class Writer:
    """The one thread that writes, on a connection of its own."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.waiting: SimpleQueue[Job] = SimpleQueue()
        threading.Thread(target=self.write_for_ever, daemon=True).start()

    async def write(self, new: NewSprocket) -> Sprocket:
        """Return what is stored once it is durable."""
        job = Job(new, asyncio.get_running_loop().create_future())
        self.waiting.put(job)
        return await job.answer

    def write_for_ever(self) -> None:
        """Commit all that wait together, then answer them: the next group gathers while the disk syncs this one."""
        while True:
            group = self.take_all()
            try:
                outcomes = self.commit(group)
            except apsw.Error as error:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                outcomes = [Outcome(job, error) for job in group]
            group[0].answer.get_loop().call_soon_threadsafe(settle, outcomes)

    def take_all(self) -> list[Job]:
        """Wait for one write, then take every other that waits as well."""
        group = [self.waiting.get()]
        try:
            while True:
                group.append(self.waiting.get_nowait())
        except Empty:
            return group

    def commit(self, group: list[Job]) -> list[Outcome]:
        """Run a group in one transaction. If it raises, nothing of it is stored."""
        self.connection.execute("BEGIN IMMEDIATE")
        outcomes = [Outcome(job, self.insert_in_savepoint(job.new)) for job in group]
        self.connection.execute("COMMIT")
        return outcomes

    def insert_in_savepoint(self, new: NewSprocket) -> Sprocket | Exception:
        """Insert one, or undo it alone and return the error. Raises it where the whole transaction fell with it."""
        self.connection.execute("SAVEPOINT one")
        try:
            stored = insert(self.connection, new)
        except apsw.Error as error:
            if not self.connection.in_transaction:
                raise
            self.connection.execute("ROLLBACK TO one; RELEASE one")
            return error
        self.connection.execute("RELEASE one")
        return stored


def settle(outcomes: list[Outcome]) -> None:
    """Answer a whole group inside the event loop."""
    for job, result in outcomes:
        if job.answer.done():
            continue  # its caller has gone
        if isinstance(result, Exception):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)


def build_trial(database: Path) -> Litestar:
    """Return the application. The handlers find the writer in their closure: an injected one made the trial slower."""
    writer = Writer(open_with_table(database))
    reader = open_connection(database)

    @get(SPROCKETS_PATH)
    async def get_sprockets() -> list[Sprocket]:
        return list_all(reader)

    @post(SPROCKETS_PATH)
    async def post_sprocket(request: Request[Any, Any, Any]) -> Sprocket:
        return await writer.write(msgspec.json.decode(await request.body(), type=NewSprocket))

    return Litestar([get_sprockets, post_sprocket], openapi_config=None)


if __name__ == "__main__":
    run(build_trial, __doc__)
