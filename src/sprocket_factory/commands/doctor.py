"""`sprocket-factory doctor`: is everything around the service as it should be, and if not, what is to be done?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import click

from sprocket_factory.commands.doctor_database import look_at_database
from sprocket_factory.commands.doctor_finding import Finding, wrong
from sprocket_factory.commands.doctor_machine import (
    look_at_backups,
    look_at_clock,
    look_at_disks,
    look_at_limits,
    look_at_permissions,
    look_at_port,
)
from sprocket_factory.commands.doctor_settings import look_at_settings
from sprocket_factory.commands.options import settings_options
from sprocket_factory.errors import Refusal
from sprocket_factory.settings import Settings

LOOKS: Mapping[str, Callable[[Settings], Iterable[Finding]]] = {
    "settings": look_at_settings,
    "permissions": look_at_permissions,
    "disk": look_at_disks,
    "clock": look_at_clock,
    "port": look_at_port,
    "limits": look_at_limits,
    "backups": look_at_backups,
    "database": look_at_database,
}

COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command()
@settings_options(*(setting.name for setting in fields(Settings)), even_misspelt=True)
def doctor(**flags: Any) -> None:
    """Look at the settings, the disk, the database, the clock, permissions and backups, and say what is to be done.

    Run it as the user that serves, in the folder and with the settings that the server has. It changes nothing. The
    exit code is 1 where something is wrong.
    """
    settings = Settings(**flags)
    is_wrong = False
    for topic, finding in _findings(settings):
        is_wrong |= finding.level == "wrong"
        click.echo(f"{click.style(f'{finding.level:5}', fg=COLOURS[finding.level])}  {topic:11}  {finding.what}")
        if finding.advice:
            click.echo(f"{'':20}{finding.advice}")
    if is_wrong:
        raise SystemExit(1)


def _findings(settings: Settings) -> Iterator[tuple[str, Finding]]:
    for topic, look in LOOKS.items():
        try:
            for finding in look(settings):
                yield topic, finding
        except Refusal as refusal:
            yield topic, wrong(refusal.detail, refusal.hint)
