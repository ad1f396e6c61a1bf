"""The table of roles and routes, as people read it."""

from collections.abc import Iterator, Mapping
from typing import Any

from sprocket_factory.entities.key import ROLES

INTRODUCTION = """\
# Who may do what

Each role has all rights of the ones before it: viewer, operator, engineer, admin. A key of a viewer or an operator may
be limited to some factories; it then writes production only for those, and a body that names another is refused whole.
What stands in no row is open to everybody: /docs, /openapi.json, /problems/..., /health/... and /sign-in; but /metrics
and the pages of the board need a viewer, some of them more.

<!-- Made by bin/docs from what the endpoints declare. -->
"""


def as_markdown(openapi: Mapping[str, Any]) -> str:
    """Return docs/roles.md from the description of the API."""
    head = ["| path | method | " + " | ".join(ROLES) + " |", "|---|---|" + "---|" * len(ROLES)]
    return "\n".join([INTRODUCTION, *head, *_rows(openapi), ""])


def _rows(openapi: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            may = ["yes" if rank >= ROLES.index(operation["x-role"]) else "" for rank in range(len(ROLES))]
            yield f"| `{path}` | {method.upper()} | {' | '.join(may)} |"
