"""The HTTP server that carries the application: where it listens, how it stops."""

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import NamedTuple, cast

import click
import uvicorn
from litestar.types import ASGIApp

from sprocket_factory.access.proxies import is_loopback
from sprocket_factory.errors import Unusable
from sprocket_factory.observe import log
from sprocket_factory.server_limits import Limits
from sprocket_factory.server_protocol import RESERVED, LimitedProtocol, State

if sys.platform != "win32":
    import resource

GRACE_SECONDS = 7
"""How long requests under way may take once the server was told to stop."""

MAX_UNSENT_BYTES = 128 * 1024

BACKLOG = 2048

ACCEPTED_AT_ONCE = 16
"""Connections that are taken in a turn of the event loop, each by a copy of the listening socket: libuv takes one for
each, so that of 256 that came to a busy server at once the last waited for two seconds (and with copies for 0.2)."""

TICKS_EACH_SECOND = 10
"""So often uvicorn calls `on_tick`."""

OTHER_FILES = 256
"""Files that the service may have open beside its connections: the database, spools, logs."""


class Tls(NamedTuple):
    """The files that HTTPS needs."""

    certificate: str
    key: str


def listen(host: str, port: int, *, anybody_writes: bool, flag: str = "--port") -> socket.socket:
    """Return a socket that listens there.

    Raises:
        Unusable: It cannot, or `anybody_writes` and others than this machine could reach it.
    """
    family, address = find_address(host, port, anybody_writes=anybody_writes, flag=flag)
    with _unusable(host, port, flag):
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # What a slow reader has not taken yet waits here, not in the kernel, which would report progress by the
        # megabyte alone: a reader of 28 kB/s then looks as if it had stopped.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
    return listener


def find_address(
    host: str, port: int, *, anybody_writes: bool, flag: str = "--port"
) -> tuple[socket.AddressFamily, str]:
    """Return which address the host is, and of which kind. Raises as `listen`."""
    with _unusable(host, port, flag):
        family, _, _, _, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    if anybody_writes and not is_loopback(str(address)):
        raise Unusable(
            f"{host} is not loopback, and whoever reaches this service could write to it without a key.",
            hint="Set --anonymous-role to none or viewer, or listen on 127.0.0.1.",
        )
    return family, str(address)


@contextlib.contextmanager
def _unusable(host: str, port: int, flag: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unusable(
            f"Cannot listen on {host} port {port}: {error.strerror}.", hint=f"Choose another with {flag}."
        ) from error


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


async def run_server(  # noqa: PLR0913 - what is served where, and how it ends
    app: ASGIApp,
    listener: socket.socket,
    announcement: str,
    limits: Limits,
    tls: Tls | None = None,
    *,
    stopping: asyncio.Event | None = None,
    drain_seconds: float = 0,
) -> None:
    """Serve the application until SIGINT or SIGTERM; requests under way are finished first.

    A signal sets `stopping`, and new requests are served for `drain_seconds` more, so that who spreads them over
    several servers has time to notice. A second signal cuts that short. The announcement is printed once a signal would
    already end it in order.
    """
    server = make_server(app, limits._replace(max_connections=allow_connections(limits.max_connections)), tls)
    loop = asyncio.get_running_loop()
    stopping = stopping or asyncio.Event()

    def stop() -> None:
        log.warning("stopping", drain_seconds=0 if stopping.is_set() else drain_seconds)
        if stopping.is_set() or not drain_seconds:
            server.stop()
        else:
            loop.call_later(drain_seconds, server.stop)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if announcement:
        click.echo(announcement)
    # What was made until now lives as long as the process. Walking over it again and again, the collector held up
    # one request in a hundred for 26 ms; without it the slowest of a hundred took 12 (64 connections posting).
    gc.collect()
    gc.freeze()
    # Nearly all that a request makes goes by itself when it ends. To look for what does not after every 700 objects, as
    # is usual, took 5 µs of each request.
    gc.set_threshold(20_000, 20, 20)
    await server.serve(sockets=[listener])


def allow_connections(count: int) -> int:
    """Let this process have so many connections open, and return how many the system allows: that may be fewer."""
    if sys.platform == "win32":
        return count
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + RESERVED + OTHER_FILES
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
        if allowed < wanted:
            log.warning("the system allows too few open files", files=allowed, connections=count)
            return max(1, allowed - RESERVED - OTHER_FILES)
    return count


def make_server(app: ASGIApp, limits: Limits, tls: Tls | None = None) -> "Server":
    """Return a server for the application; it runs until it is told to stop."""
    return Server(
        limits,
        uvicorn.Config(
            app,
            loop="none",
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        ),
    )


class Server(uvicorn.Server):
    """Uvicorn's, with limits; and a signal ends it in order: it would raise the signal again, and close nothing."""

    server_state: State

    def __init__(self, limits: Limits, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = State(limits)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. Uvicorn's own would wait a minute for the end of each TLS handshake."""
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                lambda: LimitedProtocol(config=self.config, server_state=self.server_state, app_state={}, _loop=loop),
                sock=copy,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self.server_state.limits.head_seconds if self.config.ssl else None,
                backlog=BACKLOG,
            )
            for one in sockets or ()
            for copy in (one, *(one.dup() for _ in range(ACCEPTED_AT_ONCE - 1)))
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Let every connection know that a second has gone by."""
        if counter % TICKS_EACH_SECOND == 0:
            self.tick()
        return await super().on_tick(counter)

    def tick(self) -> None:
        """Give up the clients who have used up their time."""
        for connection in list(self.server_state.connections):
            try:
                cast("LimitedProtocol", connection).tick()
            except Exception:  # noqa: BLE001 - one connection that nobody foresaw is not to end the service
                log.exception("a connection could not be looked after, and is ended")
                connection.transport.abort()

    def stop(self) -> None:
        """Stop once the requests under way are done."""
        self.end_endless()
        self.should_exit = True

    def end_endless(self) -> None:
        """End the answers that have no end of their own: nobody waits for them."""
        self.server_state.endless.end()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: run_server takes them."""
        yield
