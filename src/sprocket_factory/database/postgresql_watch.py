"""Whether a server that does not answer is at work, or hangs.

A statement that takes long says nothing about its server: it may work, or wait for a lock. But a server that lives
answers whoever connects, whatever else it does. So when something takes long its server is asked anew, by the first
few bytes of a connection: if nothing comes back, not even a refusal, and no statement of ours has been answered
meanwhile either, the server hangs, or the way to it is gone. Then what waits for it is given up, and nobody is sent
there until a connection can be had again.

What is dear to do again, a merge or a long list, is not given up before the silence has lasted as long as DEAD_SECONDS.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import asyncpg

from sprocket_factory.database.postgresql_hosts import DEAD_SECONDS, Peer, UnresetConnection, Use
from sprocket_factory.observe_statements import log

LOOK_SECONDS = 0.1
LATE_SECONDS = 0.3
"""A server of which nothing was heard for so long, while something waits for it, is asked whether it lives."""

SILENT_LOOKS = 8
"""So often is looked whether an answer has come. With the above a caller is told within two seconds. Looks are counted,
not seconds: where this process itself, or the whole machine, has stood still, the time says nothing."""

QUESTION = b"\0\0\0\x08\x04\xd2\x16\x30"
"""Whether it speaks GSSAPI (GSSENCRequest of the protocol). It is answered before it is asked who comes, and leaves no
line in the server's log; after the like question about TLS a server that speaks it would complain."""


class Watch:
    """Looks after the connections of one pool."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, UnresetConnection]]) -> None:
        self.is_away = False
        """Whether there is no server to be had, as far as is known."""
        self._connect = connect
        self._connections: WeakSet[UnresetConnection] = WeakSet()
        self._heard: dict[Peer, float] = {}
        self._silent_since: dict[Peer, float] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, connection: UnresetConnection) -> None:
        """Look after this connection, too."""
        self._connections.add(connection)

    def begin(self, connection: UnresetConnection, *, is_patient: bool) -> Use:
        """Take note that something is done with a connection."""
        use = connection.use
        use.since = asyncio.get_running_loop().time()
        use.is_patient = is_patient
        self.look_on()
        return use

    def end(self, use: Use, *, is_heard: bool) -> None:
        """Take note that it has ended, and whether the server had a part in that."""
        use.since = None
        use.is_patient = False
        if is_heard:
            self._heard[use.peer] = asyncio.get_running_loop().time()

    def miss(self, since: float) -> None:
        """Take note that no server was to be had since this moment."""
        if since > max(self._heard.values(), default=0):
            self.is_away = True
            self.look_on()

    def look_on(self) -> None:
        """See to it that somebody looks."""
        if self._task is None:
            self._task = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        """Look again and again, as long as there is anything to look after."""
        try:
            while self.is_away or self._uses():
                await asyncio.sleep(LOOK_SECONDS)
                for peer in self._late_peers():
                    await self._ask(peer)
                if self.is_away and await self._can_be_had():
                    log.warning("the database answers again")
                    self.is_away = False
        finally:
            self._task = None

    def _uses(self) -> list[tuple[Peer, float]]:
        """Return where something is waited for, and since when."""
        uses = [connection.use for connection in self._connections]
        return [(use.peer, use.since) for use in uses if use.since is not None]

    def _late_peers(self) -> set[Peer]:
        """Return of whom nothing was heard for some time, though something is waited for."""
        late = asyncio.get_running_loop().time() - LATE_SECONDS
        return {peer for peer, since in self._uses() if max(since, self._heard.get(peer, 0)) < late}

    async def _ask(self, peer: Peer) -> None:
        """Ask a server whether it lives, and give up what waits for it if it says nothing."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if await _answers(peer):
            self._heard[peer] = loop.time()
            return
        heard = self._heard.get(peer, 0)
        if heard > began:
            return
        if self._silent_since.get(peer, 0) <= heard:
            log.warning("the database is silent", peer=str(peer))
            self._silent_since[peer] = began
            self.is_away = True
        is_dead = loop.time() - self._silent_since[peer] > DEAD_SECONDS
        for connection in list(self._connections):
            use = connection.use
            if use.peer == peer and (is_dead or not use.is_patient):
                self.is_away |= use.since is not None
                connection.terminate()

    async def _can_be_had(self) -> bool:
        """Return whether a server answers, be it with a refusal."""
        try:
            connection = await self._connect()
        except asyncpg.PostgresError:
            return True
        except (OSError, asyncpg.InterfaceError):
            return False
        self._heard[connection.use.peer] = asyncio.get_running_loop().time()
        connection.terminate()
        return True


async def _answers(peer: Peer) -> bool:
    """Return whether anything at all comes back from there in time: a byte, a refusal, or the connection's end."""
    knocking = asyncio.create_task(_knock(peer))
    try:
        for _ in range(SILENT_LOOKS):
            await asyncio.wait([knocking], timeout=LOOK_SECONDS)
            if knocking.done():
                return knocking.result()
    finally:
        knocking.cancel()
    return False


async def _knock(peer: Peer) -> bool:
    """Return whether anything comes back, however long that takes; False where the way there is known to be gone."""
    writer = None
    try:
        opened = asyncio.open_unix_connection(peer) if isinstance(peer, str) else asyncio.open_connection(*peer)
        reader, writer = await opened
        writer.write(QUESTION)
        await reader.read(1)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except OSError:
        return False
    finally:
        if writer is not None:
            writer.transport.abort()
    return True
