"""Addresses of databases: which engine one is of, which file it is, and what people may see of it."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sprocket_factory.errors import Unusable

_PASSWORD = re.compile(r"^(?!sqlite:///)((?:[^:]*://)?+[^:?]*):(?:(?!\?[a-z_]{4,}=).)*@", re.DOTALL)
"""From behind the user to the last @, whatever is in it; but a parameter of the address may have an @ of its own."""


def without_password(url: str) -> str:
    """Return an address as people may see it, even one that nobody can read for what its password has in it."""
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1...", _PASSWORD.sub(r"\1@", url))


def is_postgresql(url: str) -> bool:
    """Return whether the address is that of a server."""
    return url.startswith(("postgresql:", "postgres:"))


def path_of(url: str) -> Path:
    """Return the SQLite file at this address. Raises Unusable where it is none."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise Unusable(
            f"{without_password(url)!r} is no database address.",
            hint="Write sqlite:///file.db for a file here, sqlite:////folder/file.db for an absolute path, or"
            " postgresql://user:password@host/name.",
        )
    return Path(unquote(parts.path[1:]))
