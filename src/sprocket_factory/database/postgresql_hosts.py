"""Which of the servers that an address names is connected to."""

import asyncio
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg

HEAD_START_SECONDS = 0.25
"""How long one server is waited for before the next one is tried beside it: one that is gone often says nothing."""

DEAD_SECONDS = 15
"""After this long without a sign from the machine at the other end a connection to it is none."""

Peer = tuple[str, int] | str
"""Where the other end of a connection is: a host's address and port, or the path of a socket."""

_HOSTS = re.compile(r"(\w+://(?:[^@/?]*@)?)([^/?]*)(.*)", re.DOTALL)


@dataclass(slots=True)
class Use:
    """What is done with a connection just now."""

    peer: Peer
    since: float | None = None
    """When it was begun, by the clock of the event loop; None where nothing is done."""
    is_patient: bool = False
    """Whether it may take long, and is dear to do again."""


class UnresetConnection(asyncpg.Connection):
    """A connection that goes back to the pool without a round trip: nothing here changes the session."""

    use: Use

    def get_reset_query(self) -> str:
        """Return what is run before another takes the connection: nothing."""
        return ""


def split_hosts(url: str) -> list[str]:
    """Return the address once for each host that it names."""
    found = _HOSTS.fullmatch(url)
    if found is None:
        return [url]
    before, hosts, behind = found.groups()
    return [f"{before}{host}{behind}" for host in hosts.split(",")]


async def connect(url: str, *, timeout: float, **options: Any) -> UnresetConnection:  # noqa: ASYNC109 - the driver's own name
    """Connect to the first server that will do. Of several named ones it must be one that can be written to.

    Raises:
        TimeoutError: None answered in this many seconds.
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: None will do, and this is why.
    """
    urls = split_hosts(url)
    if len(urls) > 1 and "target_session_attrs=" not in url:
        options["target_session_attrs"] = "read-write"
    async with asyncio.timeout(timeout):
        connection: UnresetConnection = await _connect_to_any(urls, options | {"timeout": timeout})
    transport: Any = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - nobody else says where it is
    peer = transport.get_extra_info("peername")
    if peer is None:
        raise ConnectionResetError("The connection ended as it began.")
    connection.use = Use(peer if isinstance(peer, str) else (peer[0], peer[1]))
    _notice_death(transport.get_extra_info("socket"))
    return connection


async def _connect_to_any(urls: list[str], options: dict[str, Any]) -> Any:
    """Try one server after the other, each with a head start, and take the first that will do."""
    waiting = iter(urls)
    tasks: list[asyncio.Task[Any]] = []
    pending: set[asyncio.Task[Any]] = set()
    chosen: asyncio.Task[Any] | None = None
    try:
        while chosen is None:
            if (url := next(waiting, None)) is not None:
                tasks.append(asyncio.create_task(asyncpg.connect(url, **options)))
                pending.add(tasks[-1])
            elif not pending:
                raise _most_telling([task.exception() for task in tasks])
            await asyncio.wait(
                pending, timeout=HEAD_START_SECONDS if url else None, return_when=asyncio.FIRST_COMPLETED
            )
            pending = {task for task in tasks if not task.done()}
            chosen = next((task for task in tasks if task.done() and task.exception() is None), None)
        return chosen.result()
    finally:
        for task in tasks:
            if task is not chosen:
                task.cancel()
                task.add_done_callback(_let_go)


def _most_telling(failures: list[BaseException | None]) -> BaseException:
    """Return what a server itself said, or else the last failure."""
    said = [failure for failure in failures if isinstance(failure, asyncpg.PostgresError)]
    (*_, last) = [failure for failure in failures if failure is not None]
    return said[0] if said else last


def _let_go(task: "asyncio.Task[Any]") -> None:
    """End a connection that nobody waits for any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def _notice_death(end: Any) -> None:
    """Let the system find out that the machine at the other end is gone: nobody else does while we only listen."""
    if end.family == socket.AF_UNIX:
        return
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", DEAD_SECONDS // 3),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", DEAD_SECONDS // 5),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", DEAD_SECONDS * 1000),
    ]
    for level, name, value in options:
        if hasattr(socket, name):  # not every system has each
            with suppress(OSError, ValueError):  # it has ended already, which whoever uses it will find
                end.setsockopt(level, getattr(socket, name), value)
