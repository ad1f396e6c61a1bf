"""The doctor on settings: are they known, do they go together, and is what they name there?"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from sprocket_factory.access.proxies import is_loopback
from sprocket_factory.commands.doctor_finding import Finding, note, ok, wrong
from sprocket_factory.commands.serve_settings import CHECKS
from sprocket_factory.commands.setting_names import HINT, unknown_settings
from sprocket_factory.errors import Unusable
from sprocket_factory.settings import Settings


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """Find what is misspelt, and what does not go together."""
    faults = list(dict.fromkeys([*_unknown(), *_refused(settings), *_at_odds(settings)]))
    yield from faults or [ok("all are known, and go together")]
    yield from _open_to_others(settings)


def _unknown() -> Iterator[Finding]:
    """Find what keeps every other command from starting."""
    for sentence in unknown_settings(click.get_current_context().find_root().command):
        yield wrong(sentence, HINT)


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
