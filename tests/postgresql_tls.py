"""TLS in front of a PostgreSQL server: the wheel's programs are built without it, so it is put on before them.

What PostgreSQL does on its own socket is done here: whoever asks for TLS is told yes, and goes on in TLS; whoever does
not is let go. Behind it everything reaches the server as it is.
"""

import asyncio
import contextlib
import re
import ssl
import threading
from typing import Self

from trustme import CA

TLS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSSAPI_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"

PIECE_BYTES = 65536


class TlsFront:
    """Listens on a port of its own, with a certificate for one name."""

    def __init__(self, server_url: str, authority: CA, name: str) -> None:
        found = re.fullmatch(r"(.*@)127\.0\.0\.1:(\d+)(/.*)", server_url)
        assert found is not None
        self._before, port, self._after = found.groups()
        self._server_port = int(port)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(self._context)
        self.versions: set[str | None] = set()
        """Which versions of TLS have been spoken."""
        self.refused = 0
        """How many have come without asking for TLS."""
        self._port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), name="TLS front")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def url(self, host: str) -> str:
        """Return the address of the database by this name of the host."""
        return f"{self._before}{host}:{self._port}{self._after}"

    async def _run(self) -> None:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            request = await reader.readexactly(len(TLS_REQUEST))
            if request == GSSAPI_REQUEST:
                writer.write(b"N")
                return
            if request != TLS_REQUEST:
                self.refused += 1
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
            self.versions.add(writer.get_extra_info("ssl_object").version())
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            with contextlib.closing(server_writer):
                await asyncio.gather(_pass_on(reader, server_writer), _pass_on(server_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()
