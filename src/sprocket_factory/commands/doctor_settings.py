"""The doctor on settings: are they known, do they go together, and is what they name there?"""

import os
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path

import click

from sprocket_factory.commands.doctor_finding import Finding, note, ok, wrong
from sprocket_factory.database import is_postgresql, path_of
from sprocket_factory.errors import Unusable, nearest
from sprocket_factory.server import Tls, check_tls
from sprocket_factory.settings import ENVIRONMENT_PREFIX, Settings, read_secret


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """Find what is misspelt, and what does not go together."""
    faults = [*_unknown(), *_at_odds(settings), *_unreadable(settings)]
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


def _at_odds(settings: Settings) -> Iterator[Finding]:
    on_server = is_postgresql(settings.database_url)
    if not on_server:
        try:
            path_of(settings.database_url)
        except Unusable as refusal:
            yield wrong(refusal.detail, refusal.hint)
    if settings.workers > 1 and not on_server:
        yield wrong(
            f"{settings.workers} workers cannot serve one SQLite file.", "Leave --workers out, or move to PostgreSQL."
        )
    if settings.backup_every and settings.database_through_proxy:
        yield wrong(
            "Backups cannot be made through a proxy that pools transactions.",
            "Schedule `sprocket-factory backup` with the address of PostgreSQL itself.",
        )
    if settings.anonymous_role not in {"none", "viewer"} and not is_loopback(settings.host):
        yield wrong(
            f"Whoever reaches {settings.host} may write without a key.", "Set --anonymous-role to none or viewer."
        )


def _unreadable(settings: Settings) -> Iterator[Finding]:
    for file in (settings.database_password_file, settings.oidc_client_secret_file):
        try:
            read_secret(file)
        except Unusable as refusal:
            yield wrong(refusal.detail, "Check its name, and that this user may read it.")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        yield wrong("HTTPS needs both --tls-cert and --tls-key.", "Give both, or neither.")
    elif settings.tls_cert:
        try:
            check_tls(Tls(settings.tls_cert, settings.tls_key))
        except Unusable as refusal:
            yield wrong(refusal.detail, refusal.hint)


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


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches this address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def secret_files(settings: Settings) -> list[Path]:
    """Return the files with secrets that the settings name."""
    names = [setting.name for setting in fields(Settings) if setting.name.endswith(("_file", "tls_key"))]
    return [Path(path) for name in names if (path := getattr(settings, name))]
