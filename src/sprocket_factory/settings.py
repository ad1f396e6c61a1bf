"""Every setting as data: its name, its default, what it is for.

A setting is given as a flag (`--max-body-bytes`), in the environment (`SPROCKET_FACTORY_MAX_BODY_BYTES`), or in a
file `.env` where the program starts; the first of these that names it counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

ENVIRONMENT_PREFIX = "SPROCKET_FACTORY"


LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


def _setting(default: Any, help_: str, *, least: int | None = None, most: int | None = None, one_of: Any = None) -> Any:
    return field(default=default, metadata={"help": help_, "least": least, "most": most, "one_of": one_of})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service is to run."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 takes any that is free.", least=0, most=65535)
    database_url: str = _setting(
        "sqlite:///sprocket-factory.db", "Where the data lies: sqlite:///file.db or postgresql://user@host/name."
    )
    database_password_file: str = _setting("", "File with the password for PostgreSQL, instead of one in the address.")
    database_connections: int = _setting(10, "Connections to PostgreSQL, at most, for each worker.", least=1, most=1000)
    database_through_proxy: bool = _setting(
        default=False, help_="Between us and PostgreSQL a proxy pools transactions, as PgBouncer does."
    )
    must_exist: bool = _setting(default=False, help_="Refuse to go on where there is no database yet.")
    max_body_bytes: int = _setting(256 * 1024 * 1024, "Largest body of a request, in bytes.", least=1)
    max_ahead_seconds: int = _setting(
        86_400, "How far ahead of this machine's clock a record may lie, in seconds.", least=0, most=10**9
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
    tls_cert: str = _setting("", "Certificate chain for HTTPS, in PEM.")
    tls_key: str = _setting("", "Its private key, in PEM.")
    workers: int = _setting(1, "Processes that serve. More than one need PostgreSQL.", least=1, most=64)
    log_level: str = _setting("info", "Log this level and above.", one_of=LOG_LEVELS)

    @property
    def role_of_anonymous(self) -> Any:
        """What callers without a key may do: a role, or None for nothing."""
        return None if self.anonymous_role == "none" else self.anonymous_role


def describe(name: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the default of the setting with this name, and its help and rules."""
    (setting,) = (setting for setting in fields(Settings) if setting.name == name)
    return setting.default, setting.metadata
