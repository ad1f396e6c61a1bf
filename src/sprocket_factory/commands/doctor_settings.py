"""The doctor on settings: are they known, do they go together, and is what they name there?"""

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from sprocket_factory.access.proxies import is_loopback
from sprocket_factory.commands.doctor_finding import Finding, note, ok, wrong
from sprocket_factory.commands.serve_settings import CHECKS
from sprocket_factory.errors import Unusable, nearest
from sprocket_factory.settings import ENVIRONMENT_PREFIX, Settings


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """Find what is misspelt, and what does not go together."""
    faults = list(dict.fromkeys([*_unknown(), *_refused(settings), *_at_odds(settings)]))
    yield from faults or [ok("all are known, and go together")]
    yield from _open_to_others(settings)


def _unknown() -> Iterator[Finding]:
    """Find variables that nobody reads: a slip in a name leaves the default in force without a word."""
    known = {f"{ENVIRONMENT_PREFIX}_{setting.name.upper()}" for setting in fields(Settings)}
    of_commands = set(_variables(click.get_current_context().find_root().command, ENVIRONMENT_PREFIX))
    for name in sorted(os.environ):
        if name.startswith(f"{ENVIRONMENT_PREFIX}_") and name not in known | of_commands:
            yield wrong(f"There is no setting {name}.{nearest(name, known)}", "docs/settings.md lists them all.")


def _variables(command: click.Command, prefix: str) -> Iterator[str]:
    """Give the variables that stand for the flags of a command, and of those below it."""
    yield from (f"{prefix}_{parameter.name}".upper() for parameter in command.params)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _variables(below, f"{prefix}_{name}")


def _refused(settings: Settings) -> Iterator[Finding]:
    """Find what keeps a server from starting."""
    for check in CHECKS:
        try:
            check(settings)
        except Unusable as refusal:
            yield wrong(refusal.detail, refusal.hint)


def _at_odds(settings: Settings) -> Iterator[Finding]:
    if settings.backup_every and settings.database_through_proxy:
        yield wrong(
            "Backups cannot be made through a proxy that pools transactions.",
            "Schedule `sprocket-factory backup` with the address of PostgreSQL itself.",
        )


def _open_to_others(settings: Settings) -> Iterator[Finding]:
    if not settings.tls_cert and not is_loopback(settings.host):
        yield note(
            f"Requests to {settings.host} travel in the clear.",
            "Give --tls-cert and --tls-key, unless a proxy that speaks TLS stands in front.",
        )
    if settings.anonymous_role != "none":
        yield note(
            f"Callers without a key are taken for a {settings.anonymous_role}.", "--anonymous-role none ends it."
        )


def secret_files(settings: Settings) -> list[Path]:
    """Return the files with secrets that the settings name."""
    names = [setting.name for setting in fields(Settings) if setting.name.endswith(("_file", "tls_key"))]
    return [Path(path) for name in names if (path := getattr(settings, name))]
