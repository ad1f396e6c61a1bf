"""Every setting as data: its name, its default, what it is for.

A setting is given as a flag (`--max-body-bytes`), in the environment (`SPROCKET_FACTORY_MAX_BODY_BYTES`), or in a
file `.env` where the program starts; the first of these that names it counts.
"""

from dataclasses import dataclass, field, fields
from typing import Any

ENVIRONMENT_PREFIX = "SPROCKET_FACTORY"


def _setting(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service is to run."""

    host: str = _setting("127.0.0.1", "Address to listen on. Loopback only, until the service knows who is calling.")
    port: int = _setting(8000, "Port to listen on.")
    database_url: str = _setting("sqlite:///sprocket-factory.db", "Where the data lies, as sqlite:///file.db.")
    must_exist: bool = _setting(default=False, help_="Refuse to start where there is no database yet.")
    max_body_bytes: int = _setting(256 * 1024 * 1024, "Largest body of a request, in bytes.")
    log_level: str = _setting("info", "Log this level and above: debug, info, warning, error or critical.")


def describe(name: str) -> tuple[Any, str]:
    """Return the default and the help of the setting with this name."""
    (setting,) = (setting for setting in fields(Settings) if setting.name == name)
    return setting.default, setting.metadata["help"]
