"""`sprocket-factory serve`: run the service until it is told to stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import click
import uvloop
from litestar.types import ASGIApp

from sprocket_factory import __version__
from sprocket_factory.app import build_app, build_metrics_app, limits_of
from sprocket_factory.commands.backup_schedule import check_schedule, scheduled_backups
from sprocket_factory.commands.first_key import give_first_key
from sprocket_factory.commands.log_levels import names_fixed, reload_levels
from sprocket_factory.commands.opening import opened_database
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.commands.serve_settings import CHECKS, anybody_writes, metrics_ports, tls_of
from sprocket_factory.commands.workers import run_workers
from sprocket_factory.database import Database
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.serving import serving
from sprocket_factory.observe import log
from sprocket_factory.observe_logs import configure_logging, written_behind
from sprocket_factory.observe_statements import slow
from sprocket_factory.observe_traces import traces
from sprocket_factory.server import address_of, listen, make_server, run_server
from sprocket_factory.server_limits import Limits
from sprocket_factory.settings import Settings


@click.command()
@settings_options(*(setting.name for setting in fields(Settings)))
def serve(**flags: Any) -> None:
    """Serve the API until Ctrl-C or SIGTERM. SIGHUP reads the log levels again."""
    settings = Settings(**flags)
    with refusals_told():
        configure_logging(settings.log_level, settings.log_levels, settings.log_format)
        slow.seconds = settings.log_slow_ms / 1000
        for check in CHECKS:
            check(settings)
        listener = listen(settings.host, settings.port, anybody_writes=anybody_writes(settings))
        metrics_listeners = [
            listen(settings.metrics_host, port, anybody_writes=False, flag="--metrics-port")
            for port in metrics_ports(settings)
        ]
        tls = tls_of(settings)
        check_schedule(settings)
        reload = partial(reload_levels, settings, names_fixed())

        def work(number: int) -> None:
            uvloop.run(_serve(settings, listener, metrics_listeners[number : number + 1], reload))

        if settings.workers == 1:
            with serving(settings.database_url, must_exist=settings.must_exist):
                work(0)
        else:
            announcement = (
                f"{uvloop.run(_look(settings))} at {address_of(listener, tls)} with {settings.workers} workers"
            )
            run_workers(settings.workers, work, announcement)


async def _look(settings: Settings) -> str:
    """Bring the schema up to date before there are workers, and return what is served."""
    async with opened_database(settings) as database:
        await give_first_key(database, has_issuer=bool(settings.oidc_issuer))
        return f"Serving {database.location}"


async def _serve(
    settings: Settings,
    listener: socket.socket,
    metrics_listeners: Sequence[socket.socket],
    reload: Callable[[], None],
) -> None:
    with ExitStack() as stack:
        stack.enter_context(written_behind(is_shared=settings.workers > 1))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        if settings.traces:
            stack.enter_context(traces.on())
        async with opened_database(settings) as database, scheduled_backups(settings):
            if settings.workers == 1:
                await give_first_key(database, has_issuer=bool(settings.oidc_issuer))
            tls = tls_of(settings)
            address = address_of(listener, tls)
            _sum_up(settings, database)
            stopping = asyncio.Event()
            limits = limits_of(settings)
            async with _metrics_served(build_metrics_app(database, stopping), metrics_listeners, limits):
                await run_server(
                    build_app(settings, database, stopping),
                    listener,
                    f"Serving {database.location} at {address}" if settings.workers == 1 else "",
                    limits,
                    tls,
                    stopping=stopping,
                    drain_seconds=settings.drain_seconds,
                )
        log.warning("stopped")


@asynccontextmanager
async def _metrics_served(app: ASGIApp, listeners: Sequence[socket.socket], limits: Limits) -> AsyncIterator[None]:
    """Serve the metrics beside what the block serves, and until its end."""
    server = make_server(app, limits)
    serving = [asyncio.create_task(server.serve(sockets=[listener])) for listener in listeners]
    try:
        yield
    finally:
        server.stop()
        await asyncio.gather(*serving)


def _sum_up(settings: Settings, database: Database) -> None:
    """Log what is served, and under which settings."""
    effective = asdict(settings) | {"database_url": without_password(settings.database_url)}
    log.info("serving", version=__version__, engine=database.engine, database=database.location, **effective)
