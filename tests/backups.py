"""What the tests of backups share: the commands, and what a database holds."""

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
from click.testing import CliRunner, Result

from harness import a_sprocket
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands import cli

Run = Callable[..., Result]
"""Runs a command on a database."""

START = 1_600_000_000


def run_command(programs: Path | None, *command: str, url: str = "") -> Result:
    """Run a command, with the programs of PostgreSQL's that are in this folder."""
    flags = ["--postgresql-programs", str(programs)] if programs else []
    return CliRunner().invoke(cli, [*command, *flags, *(["--database-url", url] if url else [])])


def fill(url: str, *, factories: int = 2, records: int = 50) -> None:
    """Store two sprockets, and factories with so many records each."""
    seed = {
        "sprockets": [a_sprocket(teeth=teeth) for teeth in (20, 21)],
        "factories": [
            {
                "factory": {
                    "name": f"factory {number}",
                    "chart_data": {
                        "time": [START + 60 * minute for minute in range(records)],
                        "sprocket_production_actual": list(range(records)),
                        "sprocket_production_goal": [7] * records,
                    },
                }
            }
            for number in range(1, factories + 1)
        ],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(seed, file)
        file.flush()
        loaded = run_command(None, "load", file.name, url=url)
    assert 0 == loaded.exit_code, loaded.output


def everything(url: str) -> list[list[dict[str, Any]]]:
    """Return all sprockets, factories and records that are stored."""
    exported = [
        run_command(None, "export", what, "--format", "json", url=url)
        for what in ("sprockets", "factories", "production")
    ]
    assert [0] * 3 == [done.exit_code for done in exported], [done.output for done in exported]
    return [json.loads(done.stdout) for done in exported]


def lose(url: str, postgresql: PostgreSQLServer | None) -> None:
    """Lose the database with all that it holds; on a server an empty one of that name is made again."""
    if postgresql is not None:
        postgresql.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC", url)
        return
    path = file_of(url)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def file_of(url: str) -> Path:
    """Return the SQLite file at this address."""
    return Path(urlsplit(url).path[1:])


def damage(path: Path) -> None:
    """Overwrite the page that the records begin with."""
    with closing(apsw.Connection(str(path))) as connection:
        (root,) = next(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'production'"))
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
