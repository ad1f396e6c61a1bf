"""Every setting as data: its name, its default, what it is for.

A setting is given as a flag (`--max-body-bytes`), in the environment (`SPROCKET_FACTORY_MAX_BODY_BYTES`), or in a
file `.env` where the program starts; the first of these that names it counts.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sprocket_factory.errors import Unusable
from sprocket_factory.observe_logs import FORMATS, LEVELS

ENVIRONMENT_PREFIX = "SPROCKET_FACTORY"


EXAMPLE_BEGIN = """\
# Copy this file to .env in the folder where the program starts, and take the # from the lines you want to change. A
# flag on the command line outdoes the environment, and the environment outdoes this file. Each line shows the default.
# (Made by bin/docs.)
"""


def _setting(  # noqa: PLR0913 - each is a rule of its own
    default: Any,
    help_: str,
    *,
    least: int | None = None,
    most: int | None = None,
    one_of: Any = None,
    is_period: bool = False,
) -> Any:
    rules = {"help": help_, "least": least, "most": most, "one_of": one_of, "is_period": is_period}
    return field(default=default, metadata=rules)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service is to run."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 takes any that is free.", least=0, most=65535)
    database_url: str = _setting(
        "sqlite:///sprocket-factory.db",
        "Where the data lies: sqlite:///file.db, sqlite:////folder/file.db or postgresql://user@host/name.",
    )
    database_password_file: str = _setting("", "File with the password for PostgreSQL, instead of one in the address.")
    database_connections: int = _setting(10, "Connections to PostgreSQL, at most, for each worker.", least=1, most=1000)
    database_through_proxy: bool = _setting(
        default=False, help_="Between us and PostgreSQL a proxy pools transactions, as PgBouncer does."
    )
    postgresql_programs: str = _setting(
        "", "Folder with pg_dump, pg_restore and psql, for backups of PostgreSQL; empty for those on the PATH."
    )
    backup_every: int = _setting(0, "How often to make a backup while serving: 15m, 1h or 1d.", is_period=True)
    backup_keep: int = _setting(48, "Of those backups: how many of the newest to keep.", least=1, most=100_000)
    backup_folder: str = _setting("backups", "Folder for those backups; it is made if need be.")
    must_exist: bool = _setting(default=False, help_="Refuse to go on where there is no database yet.")
    max_connections: int = _setting(
        2000, "Connections at once, at most, for each worker: beyond it, idle ones make room.", least=1, most=100_000
    )
    max_requests: int = _setting(
        500, "Requests under way at once, at most, for each worker; others get 503.", least=1, most=100_000
    )
    max_requests_per_minute: int = _setting(
        0, "Requests of one caller in a minute, at most, for each worker; others get 429. 0 for no limit.", least=0
    )
    max_wrong_keys: int = _setting(
        20, "Wrong keys from one address in a minute, at most, for each worker; others get 429.", least=1, most=1000
    )
    max_lists: int = _setting(
        8, "Whole lists being read at once, at most, for each worker; half of them by one caller.", least=1, most=1000
    )
    list_seconds: int = _setting(600, "How long a whole list may take to be read, in seconds.", least=1)
    max_event_clients: int = _setting(
        500, "Clients that follow the events at once, at most, for each worker; half of them one caller.", least=1
    )
    head_seconds: int = _setting(10, "How long a request's line and headers may take to come, in seconds.", least=1)
    keep_alive_seconds: int = _setting(75, "How long a connection may wait for a request, in seconds.", least=1)
    stalled_seconds: int = _setting(
        30, "By how many seconds a body or the reader of an answer may fall behind the least rate.", least=1
    )
    min_bytes_per_second: int = _setting(
        1000, "The least rate at which bodies come and answers are taken, in bytes a second.", least=1
    )
    max_header_bytes: int = _setting(65_536, "Largest line and headers of a request together, in bytes.", least=1024)
    max_headers: int = _setting(200, "Headers of a request, at most.", least=10)
    max_body_bytes: int = _setting(256 * 1024 * 1024, "Largest body of a request, in bytes.", least=1)
    max_ahead_seconds: int = _setting(
        86_400, "How far ahead of this machine's clock a record may lie, in seconds.", least=0, most=10**9
    )
    stale_after: int = _setting(
        900, "How old a factory's last record may be before the board shows it as stale: 15m or 1h.", is_period=True
    )
    anonymous_role: str = _setting(
        "none", "What callers without a key may do.", one_of=("none", "viewer", "operator", "engineer", "admin")
    )
    oidc_issuer: str = _setting(
        "", "OpenID Connect issuer whose access tokens are taken beside keys, as it calls itself: https://..."
    )
    oidc_audience: str = _setting("", "What its tokens have to name as their audience.")
    oidc_role_claim: str = _setting("roles", "Claim of a token that says the role; a.b is the member b of the claim a.")
    oidc_roles: str = _setting("", "What this claim says for each role: viewer=floor,operator=press-team,...")
    oidc_factories_claim: str = _setting("", "Claim that limits viewers and operators to factories, if there is one.")
    oidc_token_types: str = _setting("at+jwt", "Types of tokens that are taken: at+jwt, JWT, or both with a comma.")
    oidc_leeway_seconds: int = _setting(
        30, "How far the issuer's clock and this machine's may differ, in seconds.", least=0, most=300
    )
    oidc_client_id: str = _setting(
        "", "What the issuer knows this service as, for people who sign in on the board; empty for keys alone."
    )
    oidc_client_secret_file: str = _setting("", "File with the secret that goes with it; none for a public client.")
    oidc_scopes: str = _setting("openid", "Scopes to ask for at such a sign-in, separated by spaces.")
    oidc_sign_in_parameters: str = _setting(
        "", "What else the issuer has to be told, to give tokens for us: resource=urn:sprocket-factory or audience=..."
    )
    public_url: str = _setting("", "Under which origin browsers reach the service: https://sprockets.example.")
    session_hours: int = _setting(12, "After how many hours one has to sign in again.", least=1, most=9600)
    trusted_proxies: str = _setting(
        "", "Addresses or networks of proxies that are believed whom they speak for, separated by commas."
    )
    cors_origins: str = _setting("", "Origins whose pages may read the answers in a browser, separated by commas.")
    tls_cert: str = _setting("", "Certificate chain for HTTPS, in PEM.")
    tls_key: str = _setting("", "Its private key, in PEM.")
    workers: int = _setting(1, "Processes that serve. More than one need PostgreSQL.", least=1, most=64)
    drain_seconds: int = _setting(
        1, "When told to stop: how long to go on serving while /health/ready says no, in seconds.", least=0, most=300
    )
    metrics_port: int = _setting(
        0,
        "Port with the metrics alone, open to all who reach it; each worker takes the next. 0 is none.",
        least=0,
        most=65535,
    )
    metrics_host: str = _setting("127.0.0.1", "Address of that port.")
    log_level: str = _setting("info", "Log this level and above.", one_of=LEVELS)
    log_levels: str = _setting("", "Levels of single loggers, as sprocket_factory.access=debug,uvicorn=info.")
    log_format: str = _setting("auto", "What a log line is; auto is console on a terminal, else json.", one_of=FORMATS)
    log_slow_ms: int = _setting(
        500, "Log what took the database so many milliseconds, or longer.", least=0, most=3_600_000
    )
    traces: bool = _setting(default=False, help_="Send traces by OpenTelemetry, as the OTEL_* variables say.")

    @property
    def role_of_anonymous(self) -> Any:
        """What callers without a key may do: a role, or None for nothing."""
        return None if self.anonymous_role == "none" else self.anonymous_role


def read_secret(file: str) -> str:
    """Return what the file holds, without the line's end; nothing where no file is named. Raises Unusable."""
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(
            f"The file {file} with a secret cannot be read: {error}.",
            hint="Check its name, and that this user may read it.",
        ) from error


def describe(name: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the default of the setting with this name, and its help and rules."""
    (setting,) = (setting for setting in fields(Settings) if setting.name == name)
    return setting.default, setting.metadata


def may_be(name: str) -> str:
    """Return what a setting may be, in words; nothing where it may be anything."""
    default, rules = describe(name)
    if rules["one_of"]:
        *most, last = rules["one_of"]
        return f"{', '.join(most)} or {last}"
    if rules["is_period"]:
        return "off, or a period as 90s, 15m, 1h or 1d"
    if isinstance(default, bool):
        return "1 or 0"
    if rules["least"] is None:
        return ""
    return f"{rules['least']} to {rules['most']}" if rules["most"] is not None else f"{rules['least']} or more"


def as_text(name: str) -> str:
    """Return the default of a setting as one writes it in the environment."""
    default, rules = describe(name)
    if rules["is_period"]:
        return _period(default)
    return str(int(default) if isinstance(default, bool) else default)


def _period(seconds: int) -> str:
    """Return a period as one writes it."""
    for unit, letter in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return "off"


def as_markdown() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by bin/docs from src/sprocket_factory/settings.py. -->",
        "",
        "Every setting is a flag, an environment variable, or a line in a file `.env` in the folder where the program",
        "starts; the first of these that names it counts. A command takes those that concern it: `--help` lists them.",
        "A variable `SPROCKET_FACTORY_*` that nobody reads keeps a command from starting, which names it and what may",
        "be meant. A Service of Kubernetes called `sprocket-factory` puts such variables into the pods around it:",
        "`enableServiceLinks: false` in their specification keeps them out.",
        "No secret has to stand in a setting: there is one for the file that holds it.",
        "",
        "| flag | environment | default | what it is for | may be |",
        "|---|---|---|---|---|",
    ]
    for setting in fields(Settings):
        name, default = setting.name, as_text(setting.name)
        cells = [
            f"`--{name.replace('_', '-')}`",
            f"`{ENVIRONMENT_PREFIX}_{name.upper()}`",
            f"`{default}`" if default else "",
            setting.metadata["help"],
            may_be(name),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, ""])


def as_example() -> str:
    """Return .env.example."""
    blocks = [EXAMPLE_BEGIN]
    for setting in fields(Settings):
        values = may_be(setting.name)
        words = setting.metadata["help"] + (f" ({values}.)" if values else "")
        comment = "\n".join(textwrap.wrap(words, 118, initial_indent="# ", subsequent_indent="# "))
        blocks.append(f"{comment}\n#{ENVIRONMENT_PREFIX}_{setting.name.upper()}={as_text(setting.name)}\n")
    return "\n".join(blocks)
