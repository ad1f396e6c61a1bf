"""`sprocket-factory serve`: run the service until it is told to stop."""

import socket
from typing import Any

import click
import uvloop

from sprocket_factory.app import build_app
from sprocket_factory.commands.options import refusals_told, settings_options
from sprocket_factory.database import open_database
from sprocket_factory.observe import configure_logging
from sprocket_factory.server import address_of, listen, run_server
from sprocket_factory.settings import Settings


@click.command()
@settings_options("host", "port", "database_url", "must_exist", "max_body_bytes", "log_level")
def serve(**flags: Any) -> None:
    """Serve the API until Ctrl-C or SIGTERM."""
    settings = Settings(**flags)
    configure_logging(settings.log_level)
    with refusals_told():
        uvloop.run(_serve(settings, listen(settings.host, settings.port)))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    database = await open_database(settings.database_url, must_exist=settings.must_exist)
    try:
        if database.is_new:
            click.echo(f"Made a new database: {database.location}", err=True)
        announcement = f"Serving {database.location} at {address_of(listener)}"
        await run_server(build_app(settings, database), listener, announcement)
    finally:
        await database.close()
