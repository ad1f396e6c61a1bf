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

    host: str = _setting("127.0.0.1", "Address to listen on. Loopback only, until the service knows who is calling.")
    port: int = _setting(8000, "Port to listen on; 0 takes any that is free.", least=0, most=65535)
    database_url: str = _setting("sqlite:///sprocket-factory.db", "Where the data lies, as sqlite:///file.db.")
    must_exist: bool = _setting(default=False, help_="Refuse to go on where there is no database yet.")
    max_body_bytes: int = _setting(256 * 1024 * 1024, "Largest body of a request, in bytes.", least=1)
    log_level: str = _setting("info", "Log this level and above.", one_of=LOG_LEVELS)


def describe(name: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the default of the setting with this name, and its help and rules."""
    (setting,) = (setting for setting in fields(Settings) if setting.name == name)
    return setting.default, setting.metadata
