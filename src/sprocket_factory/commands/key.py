"""`sprocket-factory key`: give out, list and revoke keys without a running server."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sprocket_factory.commands.opening import DATABASE_SETTINGS, opened_database
from sprocket_factory.commands.options import Period, refusals_told, settings_options
from sprocket_factory.database import Database
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.key import KEYS, ROLES, Key, KeyWithSecret, NewKey, Role, add_key, remove_key
from sprocket_factory.entities.listing import Order, Query, stream_list
from sprocket_factory.entities.version import ANYTHING
from sprocket_factory.settings import Settings

T = TypeVar("T")

PERIOD = Period("12h", "90d", "4w")


@click.group()
def key() -> None:
    """Give out, list and revoke keys. A running server knows of it at once."""


@key.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(ROLES), required=True, help="What it may do; each role may more than the last."
)
@click.option(
    "--factory",
    "factory_ids",
    type=click.IntRange(1, MAX_ID),
    multiple=True,
    help="Limit it to this factory; may be repeated.",
)
@click.option("--expires", type=PERIOD, help="After how long it ends: 12h, 90d, 4w. Never, if left out.")
@settings_options(*DATABASE_SETTINGS)
def add(name: str, role: Role, factory_ids: tuple[int, ...], expires: int | None, **flags: Any) -> None:
    """Make a key and show it, once. The database is made if need be."""
    expires_at = None if expires is None else now() // SECOND + expires
    new = NewKey(name=name, role=role, factory_ids=list(factory_ids) or None, expires_at=expires_at)

    async def write(database: Database) -> KeyWithSecret:
        return await database.write(add_key, new, by="key add")

    made = _run(Settings(**flags), write)
    click.echo(f"Key {made.id} for {made.name}, {made.role}. It is shown this once:", err=True)
    click.echo(made.secret)


@key.command("list")
@settings_options(*DATABASE_SETTINGS)
def list_(**flags: Any) -> None:
    """List the keys, without their secrets."""

    async def read(database: Database) -> list[Key]:
        chunks = stream_list(database, KEYS, Query(order=(Order("id"),)))
        return [one async for chunk in chunks for one in chunk]

    table = Table("Id", "Name", "Role", "Factories", "Created", "Expires", "Last used")
    for one in _run(Settings(**flags, must_exist=True), read):
        limited_to = "all" if one.factory_ids is None else ", ".join(map(str, one.factory_ids)) or "none"
        moments = [one.created_at, one.expires_at, one.last_used_at]
        cells = ["" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z" for moment in moments]
        table.add_row(str(one.id), Text(one.name), one.role, limited_to, *cells)
    Console().print(table)


@key.command()
@click.argument("key_id", type=click.IntRange(1, MAX_ID))
@click.option("--last", is_flag=True, help="Revoke it even if no other key of an administrator is good.")
@settings_options(*DATABASE_SETTINGS)
def revoke(key_id: int, *, last: bool, **flags: Any) -> None:
    """Revoke a key."""

    async def write(database: Database) -> None:
        await database.write(remove_key, key_id, ANYTHING, last, by="key revoke")

    _run(Settings(**flags, must_exist=True), write)
    click.echo(f"Key {key_id} is revoked.", err=True)


def _run(settings: Settings, function: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with opened_database(settings) as database:
            return await function(database)

    with refusals_told():
        return uvloop.run(run())
