"""The start: who may serve a file, what is refused before anything is served, and a start that was broken off."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from backups import everything, file_of, fill, run_command
from command_line import run_here
from harness import START_SECONDS, Client, Program, a_sprocket, clean_environment
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import open_database
from sprocket_factory.database.migrations import Migration, migrations_for
from sprocket_factory.database.serving import serving
from sprocket_factory.errors import Unusable

PAGE = 4096


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the address of a database that holds something."""
    address = f"sqlite:///{tmp_path / 'sprocket-factory.db'}"
    fill(address)
    return address


def serve_once(folder: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    """Start a server that is expected to be refused."""
    return run_here("serve", "--port", "0", *flags, folder=folder)


def test_a_second_server_on_one_file_is_refused(start: Callable[..., Program], tmp_path: Path) -> None:
    """By whatever name it knows the file; the sentence names the process, and the first one serves on."""
    first = start("serve", "--port", "0")
    address = first.wait_for_address()
    (tmp_path / "other.db").symlink_to(tmp_path / "sprocket-factory.db")
    refused = [serve_once(tmp_path, *flags) for flags in ([], ["--database-url", "sqlite:///other.db"])]
    with Client(address) as engineer:
        stored = engineer.post("/sprockets", json=a_sprocket()).status_code

    assert [1, 1] == [done.returncode for done in refused]
    told = f"is served already, by process {first.process.pid}."
    assert [] == [done.stderr for done in refused if told not in done.stderr]
    assert 201 == stored


def test_a_server_that_was_killed_keeps_nobody_out(start: Callable[..., Program]) -> None:
    """The system takes the lock from it."""
    first = start("serve", "--port", "0")
    first.wait_for_address()
    first.kill()
    second = start("serve", "--port", "0")

    assert second.wait_for_address()
    assert 0 == second.stop()


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_stands_in_the_place_of_the_lock_is_not_written_to(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    """Somebody may have laid a link to a file of root's there, for root to write to."""
    other = tmp_path / "other"
    other.write_text("of somebody else")
    link(other, tmp_path / "sprocket-factory.db-lock")
    refused = serve_once(tmp_path)

    assert (1, "of somebody else") == (refused.returncode, other.read_text())
    assert "sprocket-factory.db-lock" in refused.stderr


def test_commands_go_on_beside_a_server(start: Callable[..., Program], tmp_path: Path) -> None:
    """Loading, exporting, keys, a backup and a check need no lock."""
    program = start("serve", "--port", "0")
    address = program.wait_for_address()
    (tmp_path / "more.json").write_text(json.dumps({"sprockets": [a_sprocket()]}))
    url = f"sqlite:///{tmp_path / 'sprocket-factory.db'}"
    done = [
        run_command(None, *command, url=url)
        for command in (
            ["load", str(tmp_path / "more.json")],
            ["export", "sprockets"],
            ["key", "add", "press", "--role", "viewer"],
            ["backup", str(tmp_path / "monday.db")],
            ["check"],
            ["migrate"],
        )
    ]
    with Client(address) as viewer:
        teeth = [sprocket["teeth"] for sprocket in viewer.get("/sprockets").json()]

    assert [0] * len(done) == [one.exit_code for one in done], [one.output for one in done]
    assert [20] == teeth


def test_where_no_server_can_start_nothing_is_left(tmp_path: Path) -> None:
    """A slip in an address makes no file, not even a lock."""
    (tmp_path / "folder").mkdir()
    refused = [
        serve_once(tmp_path, "--must-exist", "--database-url", "sqlite:///folder/a.db"),
        serve_once(tmp_path, "--database-url", "sqlite:///missing/a.db"),
    ]

    assert [1, 1] == [done.returncode for done in refused]
    assert "There is no folder" in refused[1].stderr
    assert ["folder"] == [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]


@pytest.mark.parametrize("table", ["sqlite_schema", "production", "production_by_time"])
def test_fault_36_a_damaged_page_keeps_a_server_from_starting(url: str, tmp_path: Path, table: str) -> None:
    """It says which file, why, and what restores it, and leaves the file as it is."""
    path = file_of(url)
    with closing(apsw.Connection(str(path))) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema"))
    content = bytearray(path.read_bytes())
    begin = (int(roots.get(table, 1)) - 1) * PAGE + 100 * (table == "sqlite_schema")
    content[begin : begin + 600] = b"\xa5" * 600
    path.write_bytes(content)
    refused = serve_once(tmp_path)

    assert 1 == refused.returncode
    assert f"{path} is damaged" in refused.stderr
    assert "sprocket-factory restore" in refused.stderr
    assert content == path.read_bytes()


def test_fault_36_a_file_that_is_no_database_keeps_a_server_from_starting(tmp_path: Path) -> None:
    """A text, an empty folder, another program's database: each with its reason, and left as it is."""
    (tmp_path / "text.db").write_text("nothing of a database " * 100)
    (tmp_path / "folder.db").mkdir()
    with closing(apsw.Connection(str(tmp_path / "foreign.db"))) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    refused = {
        name: serve_once(tmp_path, "--database-url", f"sqlite:///{name}.db") for name in ("text", "folder", "foreign")
    }

    assert {"text": 1, "folder": 1, "foreign": 1} == {name: done.returncode for name, done in refused.items()}
    assert "is damaged or no SQLite database" in refused["text"].stderr
    assert "cannot be opened" in refused["folder"].stderr
    assert "another program's database" in refused["foreign"].stderr


@pytest.mark.parametrize("name", ["sprocket-factory.db", "sprocket-factory.db-wal", ""])
def test_a_database_that_this_user_cannot_write_is_not_served(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is to be mended is named: the file, its log, or the folder; nothing is left behind beside the file."""
    if name.endswith("-wal"):
        (tmp_path / name).touch()
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / name)
    with pytest.raises(Unusable) as refused, serving(url, must_exist=False):
        pass
    with pytest.raises(Unusable) as not_opened:
        asyncio.run(open_database(url))

    assert f"{tmp_path / name} cannot be written." == refused.value.detail == not_opened.value.detail
    assert "chown" in refused.value.hint
    assert before == {path.name for path in tmp_path.iterdir()}


def test_a_new_database_is_for_its_user_alone(start: Callable[..., Program], tmp_path: Path) -> None:
    """It holds the digests of keys, and what the factories make is nobody else's business."""
    program = start("serve", "--port", "0")
    program.wait_for_address()
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("sprocket-factory.db*")}
    program.stop()

    assert {
        "sprocket-factory.db": 0,
        "sprocket-factory.db-wal": 0,
        "sprocket-factory.db-shm": 0,
    }.items() <= modes.items()


# Applies a migration that takes long, in a process that can be killed.
MIGRATE = """
import asyncio, sys
from sprocket_factory.database import open_database, migrations
known = migrations.migrations_for(sys.argv[1])
slow = migrations.Migration(len(known) + 1, "half", sys.argv[3])
migrations.migrations_for = lambda engine: [*known, slow]
asyncio.run(open_database(sys.argv[2]))
"""

HALF = "CREATE TABLE half (id INTEGER);"

SLOW = {
    "sqlite": "INSERT INTO half WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;",
    "postgresql": "INSERT INTO half VALUES (1); SELECT pg_sleep(1);",
}


def test_fault_37_a_migration_that_is_killed_half_way_leaves_nothing(
    engine: str, database_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 in its midst the next start finds the old schema, applies the new one whole, and goes on."""
    fill(database_url)
    before = everything(database_url)
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATE, engine, database_url, HALF + SLOW[engine]], env=clean_environment()
    )
    wait_until_half_way(database_url, request)
    process.kill()
    killed = process.wait(START_SECONDS)
    untouched = run_command(None, "check", url=database_url)
    known = migrations_for(engine)
    mended = Migration(len(known) + 1, "half", f"{HALF} INSERT INTO half VALUES (7);")
    monkeypatch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: [*known, mended])

    assert -9 == killed
    assert (0, False) == (untouched.exit_code, "half" in untouched.stdout), untouched.output
    assert before == everything(database_url)
    assert [(7,)] == asyncio.run(ids_of_half(database_url))


def wait_until_half_way(url: str, request: pytest.FixtureRequest) -> None:
    """Wait until the migration has written something that is not committed yet."""
    deadline = time.monotonic() + START_SECONDS
    while not is_half_way(url, request):
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.02)


def is_half_way(url: str, request: pytest.FixtureRequest) -> bool:
    """Return whether it sleeps on PostgreSQL, or has filled a log on SQLite."""
    if url.startswith("postgresql:"):
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        return server.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    log = Path(f"{file_of(url)}-wal")
    return log.exists() and log.stat().st_size > 256 * PAGE


async def ids_of_half(url: str) -> list[tuple[int]]:
    """Return what the migration has stored."""
    database = await open_database(url)
    try:
        return [tuple(row) for row in await database.all("SELECT id FROM half")]
    finally:
        await database.close()
