"""Reading that may look at a million rows to find one: in a thread, under a time limit, and not for who has gone."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TypeVar

import apsw

SCAN_SECONDS = 10
"""A statement that finds its next rows no sooner is given up."""

INSTRUCTIONS_BETWEEN_LOOKS = 100_000
"""Of SQLite's own, between two looks at the clock: about a millisecond."""

T = TypeVar("T")


async def scan(connection: apsw.Connection, read: Callable[[], T]) -> T:
    """Return what a read on this connection returns.

    However its caller goes, no thread is in the connection afterwards.

    Raises:
        apsw.InterruptError: It took more than SCAN_SECONDS, with the wait for a thread.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SCAN_SECONDS
    is_unwanted = False
    claim = Lock()  # taken for good by who comes first: the thread that begins, or a caller who goes before that

    def begin() -> T:
        if not claim.acquire(blocking=False):
            raise apsw.InterruptError
        return read()

    connection.set_progress_handler(lambda: is_unwanted or loop.time() > deadline, INSTRUCTIONS_BETWEEN_LOOKS)
    reading = loop.run_in_executor(None, begin)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        if claim.acquire(blocking=False):
            reading.cancel()
            raise
        is_unwanted = True  # for a statement that begins only now, of which an interrupt knows nothing
        connection.interrupt()
        while not reading.done():  # however often its caller goes: two threads must not be in one connection
            with suppress(asyncio.CancelledError):
                await asyncio.wait([reading])
        reading.exception()  # that it was interrupted is no news, and asyncio would tell of what nobody looks at
        raise
    finally:
        connection.set_progress_handler(None)
