"""`serve --backup-every`: a server makes verified backups of its own database, keeps the newest, and tells of them."""

import asyncio
import fcntl
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backups import damage, everything, fill, run_command
from harness import START_SECONDS, Client, NewDatabase, Program, a_sprocket, run_program
from log_lines import errors_in
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands.backup_schedule import check_schedule, scheduled_backups
from sprocket_factory.database.backup_folder import newest_backup
from sprocket_factory.settings import Settings

EACH_SECOND = ("--backup-every", "1s", "--backup-keep", "2")

MADE = "made and verified"
FAILED = "no backup could be made"


@pytest.fixture
def serve(
    engine: str, start: Callable[..., Program], database_url: str, request: pytest.FixtureRequest
) -> Callable[..., Program]:
    """Return what starts a server on a database of this engine."""
    programs: list[str] = []
    if engine == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        programs = ["--postgresql-programs", str(server.programs)]
    return lambda *flags: start("serve", "--port", "0", "--database-url", database_url, *programs, *flags)


def backups_in(folder: Path) -> list[Path]:
    """Return the backups there, the newest last."""
    return sorted(path for path in (folder / "backups").glob("*") if path.suffix in {".db", ".dump"})


def wait_until(condition: Callable[[], bool], program: Program) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, program.output
        time.sleep(0.02)


def name_of_age(age: timedelta) -> str:
    """Return the name of a backup that was made so long ago."""
    return f"sprocket-factory-{datetime.now(UTC) - age:%Y%m%dT%H%M%SZ}.db"


def test_a_server_makes_backups_and_keeps_the_newest(
    serve: Callable[..., Program], new_database: NewDatabase, tmp_path: Path
) -> None:
    """Each is verified and told of; older ones go with their checksums, and what is not ours stays."""
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "notes.db").write_text("mine")
    (tmp_path / "backups" / name_of_age(timedelta(days=2))).touch()
    program = serve(*EACH_SECOND)
    with Client(program.wait_for_address()) as engineer:
        engineer.post("/sprockets", json=a_sprocket(teeth=33)).raise_for_status()
        told = program.output.count(MADE)
        wait_until(lambda: program.output.count(MADE) >= told + 2, program)
    stopped = program.stop()
    kept = [path for path in backups_in(tmp_path) if path.name != "notes.db"]
    flags = re.findall(r"--postgresql-programs (\S+)", " ".join(map(str, program.process.args)))  # type: ignore[arg-type]
    programs = Path(flags[0]) if flags else None
    restored = run_command(programs, "restore", "--force", str(kept[-1]), url=(other := new_database()))

    assert 0 == stopped, program.output
    assert 2 == len(kept)
    assert {f"{path.name}.sha256" for path in kept} == {path.name for path in (tmp_path / "backups").glob("*.sha256")}
    assert "mine" == (tmp_path / "backups" / "notes.db").read_text()
    assert f'"file":"{kept[-1]}","contents":"schema' in program.output
    assert [] == errors_in(program.output)
    assert 0 == restored.exit_code, restored.output
    assert [33] == [sprocket["teeth"] for sprocket in everything(other)[0]]


def test_a_start_makes_no_backup_where_the_newest_is_young_enough(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    """A server that is started again and again does not push out the good ones."""
    (tmp_path / "backups").mkdir()
    young = name_of_age(timedelta(minutes=5))
    (tmp_path / "backups" / young).touch()
    program = start("serve", "--port", "0", "--backup-every", "1h", "--backup-keep", "1")
    with Client(program.wait_for_address()) as viewer:
        for _ in range(20):
            viewer.get("/sprockets")
    stopped = program.stop()

    assert (0, [young]) == (stopped, [path.name for path in backups_in(tmp_path)])


def test_several_workers_make_one_backup_at_a_time(
    postgresql: PostgreSQLServer, start: Callable[..., Program], tmp_path: Path
) -> None:
    """Whichever of them: each moment has one backup, and another goes on where one dies."""
    program = start(
        "serve", "--port", "0", "--workers", "3", "--database-url", postgresql.new_database(),
        "--postgresql-programs", str(postgresql.programs), "--backup-every", "1s", "--backup-keep", "100",
    )  # fmt: skip
    program.wait_for_address()
    wait_until(lambda: MADE in program.output, program)
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    told = program.output.count(MADE)
    wait_until(lambda: program.output.count(MADE) > told, program)
    stopped = program.stop()
    made = re.findall(rf'{MADE} a backup","file":"([^"]+)"', program.output)

    assert 0 == stopped
    assert len(made) == len(set(made))
    assert made == [str(path) for path in backups_in(tmp_path)][: len(made)]


def test_a_backup_that_fails_is_told_of_and_costs_no_older_one(start: Callable[..., Program], tmp_path: Path) -> None:
    """Where the database is damaged the good backups are not pushed out, and the service goes on."""
    fill(f"sqlite:///{tmp_path / 'sprocket-factory.db'}")
    program = start("serve", "--port", "0", *EACH_SECOND)
    address = program.wait_for_address()
    wait_until(lambda: program.output.count(MADE) >= 2, program)
    damage(tmp_path / "sprocket-factory.db")
    wait_until(lambda: FAILED in program.output, program)
    before = backups_in(tmp_path)
    told = program.output.count(FAILED)
    wait_until(lambda: program.output.count(FAILED) > told, program)
    with Client(address) as viewer:
        meanwhile = viewer.get("/factories").status_code

    assert 0 == program.stop()
    assert 200 == meanwhile
    assert before == backups_in(tmp_path)
    assert 2 == len(before)


async def test_a_backup_that_is_under_way_is_given_up_when_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends within a step, and leaves nothing behind."""
    url = f"sqlite:///{tmp_path / 'factory.db'}"
    await asyncio.to_thread(fill, url, records=400)
    settings = Settings(database_url=url, backup_every=1, backup_folder=str(tmp_path / "backups"))
    begun = threading.Event()

    def slow_step(copying: Any, _target: Path) -> None:
        copying.step(1)
        begun.set()
        time.sleep(0.05)

    monkeypatch.setattr("sprocket_factory.database.backup_sqlite.copy_step", slow_step)
    check_schedule(settings)
    async with scheduled_backups(settings):
        await asyncio.to_thread(begun.wait, START_SECONDS)
        began = time.monotonic()
    took = time.monotonic() - began

    assert begun.is_set()
    assert took < 1
    assert [".sprocket-factory-backups-lock"] == [path.name for path in (tmp_path / "backups").iterdir()]


async def test_nothing_waits_for_the_folder_of_the_backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie on another machine: to look into it, to take the turn and to remove old ones is a thread's."""
    url, folder = f"sqlite:///{tmp_path / 'factory.db'}", tmp_path / "backups"
    await asyncio.to_thread(fill, url)
    settings = Settings(database_url=url, backup_every=1, backup_keep=1, backup_folder=str(folder))
    check_schedule(settings)
    old = folder / name_of_age(timedelta(days=2))
    old.touch()
    done: set[str] = set()
    in_the_loop: set[str] = set()
    loop_thread = threading.get_ident()

    def watch(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def watched(*args: Any, **flags: Any) -> Any:
            (in_the_loop if threading.get_ident() == loop_thread else done).add(name)
            return function(*args, **flags)

        monkeypatch.setattr(owner, name, watched)

    watch(Path, "iterdir")
    watch(Path, "unlink")
    watch(fcntl, "flock")
    async with scheduled_backups(settings), asyncio.timeout(START_SECONDS):
        while os.path.exists(old):  # noqa: ASYNC110, ASYNC240, PTH110 - no event tells of it; it is in memory
            await asyncio.sleep(0.01)

    assert {"iterdir", "unlink", "flock"} == done
    assert set() == in_the_loop


def test_a_dump_that_is_under_way_ends_with_its_server(
    postgresql: PostgreSQLServer, start: Callable[..., Program], tmp_path: Path
) -> None:
    """Nobody waits for it, and no process of it is left: Program.stop would wait for it in vain."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pg_restore", "psql", "pg_dump"):
        (programs / name).symlink_to(postgresql.programs / name)
    (programs / "pg_dump").unlink()
    (programs / "pg_dump").write_text(
        f"#!/bin/sh\n[ $1 != --version ] || exec {postgresql.programs}/pg_dump --version\n"
        f": > {tmp_path}/begun\nexec sleep 60\n"
    )
    (programs / "pg_dump").chmod(0o755)
    program = start(
        "serve", "--port", "0", "--database-url", postgresql.new_database(),
        "--postgresql-programs", str(programs), *EACH_SECOND,
    )  # fmt: skip
    program.wait_for_address()
    wait_until((tmp_path / "begun").exists, program)

    assert 0 == program.stop()
    assert [] == list((tmp_path / "backups").glob("sprocket*"))
    assert [] == list((tmp_path / "backups").glob(".*.partial"))


def test_what_a_killed_server_has_left_is_removed(start: Callable[..., Program], tmp_path: Path) -> None:
    """A half backup takes room and helps nobody."""
    folder = tmp_path / "backups"
    folder.mkdir()
    moment = name_of_age(timedelta(minutes=1))
    left = [folder / f".{moment}-{name}" for name in ("half.partial", "half.partial-journal")]
    for path in left:
        path.write_bytes(b"half")
    program = start("serve", "--port", "0", *EACH_SECOND)
    program.wait_for_address()
    wait_until(lambda: MADE in program.output, program)
    program.stop()

    assert [False, False] == [path.exists() for path in left]


def test_backups_that_cannot_be_made_keep_the_server_from_starting(tmp_path: Path) -> None:
    """Whoever asks for them learns of it at once: where there is no such folder, or no program to make them."""
    (tmp_path / "file").write_text("")
    no_folder = run_program("serve", "--port", "0", *EACH_SECOND, "--backup-folder", "file", folder=tmp_path)
    no_program = run_program(
        "serve", "--port", "0", *EACH_SECOND, "--database-url", "postgresql://nobody@127.0.0.1:1/x",
        "--postgresql-programs", str(tmp_path), folder=tmp_path,
    )  # fmt: skip

    assert [1, 1] == [no_folder.returncode, no_program.returncode]
    assert "file cannot be written" in no_folder.stderr
    assert "pg_dump, pg_restore, psql cannot be found" in no_program.stderr


def test_the_moment_of_the_newest_backup_can_be_asked_for(tmp_path: Path) -> None:
    """What is shown as a metric: names that are no moment, and other files, do not count."""
    moments = [newest_backup(tmp_path / "missing"), newest_backup(tmp_path)]
    for name in ("sprocket-factory-20260102T030405Z.db", "sprocket-factory-20260101T000000Z.dump"):
        (tmp_path / name).touch()
    for name in ("sprocket-factory-20269999T000000Z.db", "sprocket-factory-20270101T000000Z.txt", "other.db"):
        (tmp_path / name).touch()

    assert [None, None] == moments
    assert datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) == newest_backup(tmp_path)
