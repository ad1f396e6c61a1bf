"""How the record of changes gets its order on PostgreSQL.

Numbers are given to writers as they come, but their transactions become visible as they commit: whoever read up to
number 11 would miss 10, if that is committed later. So a write puts its entry into `new_changes`, and only what is
committed is moved on to `changes`, by one at a time and in the order of the numbers. The ids it gets there become
visible in their order: they are positions that a reader goes on from, on any server, and data like any other, so that a
dump, a copy or another cluster leaves them right. No open transaction holds up what others have committed.
(docs/decisions/0013-one-table-of-changes.md weighs this against reading by `pg_snapshot_xmin`.)

A writer puts its entry behind the statements of its write. Whoever has to wait for another's row, or is run again
because of it, so takes the larger number; and when his entry is visible, so is the other's. Hence the changes of each
thing stand in the order in which they were made.
"""

import asyncio
import time

import asyncpg

from sprocket_factory.database.postgresql_pool import LOST, Pool, acquired
from sprocket_factory.errors import Refusal
from sprocket_factory.observe_statements import log

PAUSE_SECONDS = 0.1
"""Entries of a moment are moved together: each move waits for the disk once."""

MAX_PAUSE_SECONDS = 10

PAUSE_SHARE = 10
"""A pause is so many times as long as the move before it. A backup or a report that stays open for hours keeps what was
removed from `new_changes` from being swept up, and each move steps over it: 0.14 ms for a thousand entries."""

MAX_MOVED = 10_000

ANY_NEW = "SELECT EXISTS (SELECT 1 FROM new_changes)"

ONE_AT_A_TIME = "SELECT number FROM migrations WHERE number = 4 FOR UPDATE"

_COLUMNS = "at, actor, action, entity, key, before, after, records, request_id, spans, batch"

MOVE = f"""
WITH moved AS (
    DELETE FROM new_changes WHERE number IN (SELECT number FROM new_changes ORDER BY number LIMIT {MAX_MOVED})
    RETURNING number, {_COLUMNS}
)
INSERT INTO changes ({_COLUMNS}) SELECT {_COLUMNS} FROM moved ORDER BY number
"""  # noqa: S608 - put together from constants


class Ordering:
    """Moves entries on: soon after this server has written some, and whenever it is asked to.

    What a server that ended has left behind is moved with the next ones, whoever moves them.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    async def order(self) -> None:
        """Move everything that is committed by now. Raises what the database does."""
        moved = MAX_MOVED
        async with acquired(self._pool) as connection:
            while moved == MAX_MOVED and await connection.fetchval(ANY_NEW):
                async with connection.transaction(isolation="read_committed"):  # it sees what the one before it left
                    await connection.execute(ONE_AT_A_TIME)
                    moved = int((await connection.execute(MOVE)).rpartition(" ")[2])

    def order_soon(self) -> None:
        """See to it that what was just committed is moved before long."""
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._order_while_due())

    async def close(self) -> None:
        """Stop. What is left is moved by another server, or after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _order_while_due(self) -> None:
        pause = PAUSE_SECONDS
        while self._is_due:
            await asyncio.sleep(pause)
            self._is_due = False
            began = time.monotonic()
            try:
                await self.order()
                pause = min(max(PAUSE_SECONDS, PAUSE_SHARE * (time.monotonic() - began)), MAX_PAUSE_SECONDS)
            except (asyncpg.PostgresError, *LOST, Refusal) as error:
                log.warning("changes wait for their place in the record", cause=repr(error))
                self._is_due = True
                pause = MAX_PAUSE_SECONDS
