"""The HTTP server that carries the application: where it listens, how it writes, how it stops."""

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import click
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sprocket_factory.errors import Unusable

GRACE_SECONDS = 8
"""How long requests under way may take once the server was told to stop."""

MAX_HELD_BYTES = 16 * 1024

MAX_UNSENT_BYTES = 128 * 1024

GIVE_UP_SECONDS = 30
"""How long what was written before a connection is closed may wait for a reader to take it."""

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
"""A request's line and headers are no larger and no more. Others get a plain 400, and the connection ends."""

LARGE_PIECE = 8 * 1024

LINGER_SECONDS = 1.0
"""How long the sender of a body that was refused has to read the answer."""

MAX_UNWANTED_BYTES = 1024 * 1024
"""A body that was refused may be sent to its end, so that its sender reads the refusal; but not for ever."""


class Tls(NamedTuple):
    """The files that HTTPS needs."""

    certificate: str
    key: str


def listen(host: str, port: int, *, anybody_writes: bool) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        Unusable: It cannot, or `anybody_writes` and others than this machine could reach it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if anybody_writes and not ipaddress.ip_address(address[0]).is_loopback:
            raise Unusable(
                f"{host} is not loopback, and whoever reaches this service could write to it without a key.",
                hint="Set --anonymous-role to none or viewer, or listen on 127.0.0.1.",
            )
        listener = socket.create_server((str(address[0]), port), family=family, backlog=2048)
    except OSError as error:
        raise Unusable(
            f"Cannot listen on {host} port {port}: {error.strerror}.", hint="Choose another with --port."
        ) from error
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # What a slow reader has not taken yet waits here, not in the kernel, which would report progress by the
        # megabyte alone: a reader of 28 kB/s then looks as if it had stopped.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
    return listener


def address_of(listener: socket.socket, tls: Tls | None = None) -> str:
    """Return where a browser finds what listens here."""
    host, port, *_ = listener.getsockname()
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def check_tls(tls: Tls) -> None:
    """Raise Unusable unless the certificate and the key can be read and belong together."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise Unusable(
            f"HTTPS is not possible with {tls.certificate} and {tls.key}: {error}.",
            hint="Both are PEM files, and the key is that of the certificate.",
        ) from error


async def run_server(app: ASGIApp, listener: socket.socket, announcement: str, tls: Tls | None = None) -> None:
    """Serve the application until SIGINT or SIGTERM; requests under way are finished first.

    The announcement is printed once a signal would already end it in order.
    """
    server = make_server(app, tls)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    if announcement:
        click.echo(announcement)
    # What was made until now lives as long as the process. Walking over it again and again, the collector held up
    # one request in a hundred for 26 ms; without it the slowest of a hundred took 12 (64 connections posting).
    gc.collect()
    gc.freeze()
    await server.serve(sockets=[listener])


def make_server(app: ASGIApp, tls: Tls | None = None) -> "Server":
    """Return a server for the application; it runs until it is told to stop."""
    return Server(
        uvicorn.Config(
            app,
            loop="none",
            http=CorkedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
    )


class Server(uvicorn.Server):
    """Uvicorn's, but a signal ends it in order: it would raise the signal again, and leave the database open."""

    def stop(self) -> None:
        """Stop once the requests under way are done."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: run_server takes them."""
        yield


class CorkedTransport:
    """A transport that lets the head and the body of an answer leave in one system call.

    Uvicorn writes them one after the other, and the second call is a quarter of what a short request costs (measured:
    75 µs of CPU without this, 56 with it). What is written waits for the end of the event loop's turn, or until it
    is large.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, still_sends: Callable[[], bool]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._still_sends = still_sends
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Hold the data until the turn ends."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self._flush()

    def close(self) -> None:
        """Let go of what is held, then close; but not under the hands of a sender, who would lose the answer."""
        self._flush()
        if self._still_sends() and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(GIVE_UP_SECONDS, self._transport.abort)

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CorkedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol on a corked transport, with limits on what a request may bring."""

    _head_bytes = 0
    _unwanted_bytes = 0
    _reads_head = False
    _is_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin a connection."""
        super().connection_made(cast("asyncio.Transport", CorkedTransport(transport, self.loop, self._still_sends)))

    def _still_sends(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless a head does not end: the parser would put it together again with each piece."""
        self._is_large = len(data) > LARGE_PIECE or self._head_bytes > 0
        super().data_received(data)
        if self._reads_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._unwanted_bytes = 0
        self._head_bytes = 0
        self._reads_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer. Raises ValueError, which makes the answer a plain 400, where the head is too large."""
        self._reads_head = False
        if len(self.headers) > MAX_HEADERS or (self._is_large and self._size_of_head() > MAX_HEAD_BYTES):
            raise ValueError("The head of the request is too large.")
        super().on_headers_complete()

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body. What comes after a refusal is let go of, and a sender who goes on is cut off."""
        if self.cycle.response_complete:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > MAX_UNWANTED_BYTES:
                self.transport.abort()
            return
        super().on_body(body)
