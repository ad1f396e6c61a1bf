"""`sprocket-factory serve`: run the service until it is told to stop."""

import socket
from typing import Any

import click
import uvloop

from sprocket_factory.app import build_app, check_settings, limits_of
from sprocket_factory.commands.backup_schedule import check_schedule, scheduled_backups
from sprocket_factory.commands.first_key import give_first_key
from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.commands.workers import run_workers
from sprocket_factory.database.serving import serving
from sprocket_factory.errors import Unusable
from sprocket_factory.observe import configure_logging
from sprocket_factory.server import Tls, address_of, check_tls, listen, run_server
from sprocket_factory.settings import Settings


@click.command()
@settings_options(
    "host",
    "port",
    "workers",
    *DATABASE_SETTINGS,
    "postgresql_programs",
    "backup_every",
    "backup_keep",
    "backup_folder",
    "must_exist",
    "anonymous_role",
    "oidc_issuer",
    "oidc_audience",
    "oidc_role_claim",
    "oidc_roles",
    "oidc_factories_claim",
    "oidc_token_types",
    "oidc_leeway_seconds",
    "trusted_proxies",
    "cors_origins",
    "max_connections",
    "max_requests",
    "max_requests_per_minute",
    "max_wrong_keys",
    "max_lists",
    "list_seconds",
    "head_seconds",
    "keep_alive_seconds",
    "stalled_seconds",
    "min_bytes_per_second",
    "max_header_bytes",
    "max_headers",
    "max_body_bytes",
    "max_ahead_seconds",
    "tls_cert",
    "tls_key",
    "log_level",
)
def serve(**flags: Any) -> None:
    """Serve the API until Ctrl-C or SIGTERM."""
    settings = Settings(**flags)
    configure_logging(settings.log_level)
    with refusals_told():
        check_settings(settings)
        if settings.workers > 1 and settings.database_url.startswith("sqlite:"):
            raise Unusable(
                f"One process serves an SQLite file, not {settings.workers}: it puts the writes in their order.",
                hint="Leave --workers out, or point --database-url at PostgreSQL.",
            )
        anybody_writes = settings.anonymous_role not in {"none", "viewer"}
        listener = listen(settings.host, settings.port, anybody_writes=anybody_writes)
        tls = _tls(settings)
        check_schedule(settings)
        if settings.workers == 1:
            with serving(settings.database_url, must_exist=settings.must_exist):
                uvloop.run(_serve(settings, listener))
        else:
            announcement = (
                f"{uvloop.run(_look(settings))} at {address_of(listener, tls)} with {settings.workers} workers"
            )
            run_workers(settings.workers, lambda: uvloop.run(_serve(settings, listener)), announcement)


async def _look(settings: Settings) -> str:
    """Bring the schema up to date before there are workers, and return what is served."""
    async with opened_database(settings) as database:
        await give_first_key(database)
        return f"Serving {database.location}"


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with opened_database(settings) as database, scheduled_backups(settings):
        if settings.workers == 1:
            await give_first_key(database)
        tls = _tls(settings)
        announcement = f"Serving {database.location} at {address_of(listener, tls)}" if settings.workers == 1 else ""
        await run_server(build_app(settings, database), listener, announcement, limits_of(settings), tls)


def _tls(settings: Settings) -> Tls | None:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Unusable("HTTPS needs both --tls-cert and --tls-key.", hint="Give both, or neither.")
    if not settings.tls_cert:
        return None
    tls = Tls(settings.tls_cert, settings.tls_key)
    check_tls(tls)
    return tls
