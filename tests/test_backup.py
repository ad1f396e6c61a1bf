"""`sprocket-factory backup` and `restore`: what was acknowledged outlives the loss of the database, on both engines."""

import os
import re
import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from backups import START, Run, everything, fill, lose, run_command
from browsers import COOKIE, Browser
from harness import BASE_PATH, TLS, Client, NewDatabase, Program, Service, a_sprocket
from keyholders import make_key
from log_lines import errors_in
from postgresql_server import PostgreSQLServer
from sprocket_factory.database.migrations import Migration, migrations_for
from sprocket_factory.settings import Settings

WRITERS = 4
ACKNOWLEDGED_BEFORE = 150

KILOBYTES = 1024


@pytest.fixture
def server(engine: str, request: pytest.FixtureRequest) -> PostgreSQLServer | None:
    """Return the PostgreSQL server, where the test runs on one."""
    return request.getfixturevalue("postgresql") if engine == "postgresql" else None


@pytest.fixture
def run(server: PostgreSQLServer | None) -> Run:
    """Return what runs a command on a database."""
    programs = server.programs if server else None
    return lambda *command, url="": run_command(programs, *command, url=url)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return where a backup goes."""
    return tmp_path / "monday"


class Writers:
    """Machines that go on recording, each in a factory of its own, and remember what was acknowledged."""

    def __init__(self, address: str) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self.refused: list[int] = []
        self._address = address
        self._enough = threading.Event()
        with Client(address) as engineer:
            for number in range(1, WRITERS + 1):
                engineer.post("/factories", json={"name": f"factory {number}"}).raise_for_status()
        self._threads = [threading.Thread(target=self._write, args=[number]) for number in range(1, WRITERS + 1)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> list[tuple[int, int]]:
        """Return what was acknowledged by now, once it is so much."""
        while len(self.acknowledged) < count:
            time.sleep(0.002)
        return list(self.acknowledged)

    def stop(self) -> None:
        """Let all of them end."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _write(self, factory_id: int) -> None:
        minute = 0
        with httpx.Client(base_url=self._address + BASE_PATH, trust_env=False, verify=TLS) as machine:
            while not self._enough.is_set():
                minute += 1
                record = {"sprocket_production_actual": minute, "sprocket_production_goal": factory_id}
                try:
                    answer = machine.put(f"/production/{factory_id}/{START + minute}", json=record)
                except httpx.TransportError:
                    return
                if answer.is_success:
                    self.acknowledged.append((factory_id, minute))
                else:
                    self.refused.append(answer.status_code)


def test_fault_38_what_was_acknowledged_before_a_backup_began_outlives_the_loss_of_the_database(
    start: Callable[..., Program], database_url: str, server: PostgreSQLServer | None, run: Run, backup: Path
) -> None:
    """A rehearsal: while a backup is made nobody is refused; then all is lost, and restored as of one moment."""
    program = start("serve", "--port", "0", "--database-url", database_url)
    writers = Writers(program.wait_for_address())
    before = writers.wait_for(ACKNOWLEDGED_BEFORE)
    made = run("backup", str(backup), url=database_url)
    writers.wait_for(len(writers.acknowledged) + 20)
    program.kill()
    writers.stop()
    lose(database_url, server)
    restored = run("restore", str(backup), url=database_url)
    _, factories, production = everything(database_url)

    assert [0, 0] == [made.exit_code, restored.exit_code], made.output + restored.output
    assert [] == writers.refused
    stored = [(record["factory_id"], record["sprocket_production_actual"]) for record in production]
    assert set() == set(before) - set(stored)
    assert WRITERS == len(factories)
    # Each writes one minute after the other, so that a copy of two moments would have a hole.
    latest = dict(stored)
    assert stored == [(number, minute) for number, last in latest.items() for minute in range(1, last + 1)]


def test_fault_38_nothing_is_restored_over_what_is_not_empty(new_database: NewDatabase, run: Run, backup: Path) -> None:
    """It is refused, what is there stays, and the sentence says how much that is; --force goes on."""
    saved, other = new_database(), new_database()
    fill(saved)
    fill(other, factories=3)
    run("backup", str(backup), url=saved)
    before = everything(other)
    refused = run("restore", str(backup), url=other)
    after = everything(other)
    forced = run("restore", "--force", str(backup), url=other)

    assert (1, before) == (refused.exit_code, after)
    assert "is not empty: schema" in refused.stderr
    assert "factories 3" in refused.stderr
    assert 0 == forced.exit_code, forced.output
    assert everything(saved) == everything(other)


def test_fault_38_nothing_is_restored_under_a_running_server(
    start: Callable[..., Program], database_url: str, run: Run, backup: Path
) -> None:
    """It is refused even where nothing is stored but the first key. With --force the server goes on with the backup."""
    program = start("serve", "--port", "0", "--database-url", database_url)
    with Client(program.wait_for_address()) as engineer:
        engineer.post("/sprockets", json=a_sprocket(teeth=11))
        run("backup", str(backup), url=database_url)
        engineer.post("/sprockets", json=a_sprocket(teeth=12))
        refused = run("restore", str(backup), url=database_url)
        meanwhile = [sprocket["teeth"] for sprocket in engineer.get("/sprockets").json()]
        forced = run("restore", "--force", str(backup), url=database_url)
        engineer.post("/sprockets", json=a_sprocket(teeth=13)).raise_for_status()
        after = [(sprocket["id"], sprocket["teeth"]) for sprocket in engineer.get("/sprockets").json()]
    stopped = program.stop()

    assert (1, [11, 12]) == (refused.exit_code, meanwhile)
    assert re.search(r"is served by process \d+|is in use", refused.stderr)
    assert 0 == forced.exit_code, forced.output
    assert [(1, 11), (3, 13)] == after
    assert (0, []) == (stopped, errors_in(program.output))
    assert after == [(sprocket["id"], sprocket["teeth"]) for sprocket in everything(database_url)[0]]


def test_fault_38_a_backup_that_is_damaged_is_not_restored(new_database: NewDatabase, run: Run, backup: Path) -> None:
    """It is read whole before anything is replaced, even with --force, and with or without its checksum."""
    saved, other = new_database(), new_database()
    fill(saved, records=4000)
    fill(other)
    run("backup", str(backup), url=saved)
    content, checksum = backup.read_bytes(), backup.with_name("monday.sha256")
    middle = len(content) // 2
    cut_off, scribbled_on = content[:middle], content[:middle] + b"\xa5" * 2048 + content[middle + 2048 :]
    before = everything(other)
    refused, checked = [], []
    for damaged in (cut_off, scribbled_on):
        backup.write_bytes(damaged)
        refused.append(run("restore", "--force", str(backup), url=other))
    checksum.unlink()
    for damaged in (cut_off, scribbled_on):
        backup.write_bytes(damaged)
        refused.append(run("restore", "--force", str(backup), url=other))
        checked.append(run("check", str(backup)))

    assert [1] * 4 == [done.exit_code for done in refused]
    assert [] == [done.output for done in refused + checked if "Traceback" in done.output]
    assert [] == [done.stderr for done in refused if "another backup" not in done.stderr]
    assert [(1, True)] * 2 == [(done.exit_code, "is NOT sound" in done.stdout) for done in checked]
    assert before == everything(other)


def test_fault_38_what_is_no_backup_is_not_restored(database_url: str, run: Run, backup: Path) -> None:
    """The sentence names the file, and what is there stays."""
    fill(database_url)
    before = everything(database_url)
    refused = [run("restore", "--force", str(backup.with_name("missing")), url=database_url)]
    for content in (b"", b"nothing of a backup", b"SQLite format 3\0 nothing more", b"PGDMP\x01"):
        backup.write_bytes(content)
        refused.append(run("restore", "--force", str(backup), url=database_url))

    assert [(1, "Error: ")] * 5 == [(done.exit_code, done.stderr[:7]) for done in refused]
    assert [] == [done.stderr for done in refused if str(backup.parent) not in done.stderr]
    assert before == everything(database_url)


def test_fault_38_a_backup_of_a_newer_schema_is_not_restored(
    engine: str, new_database: NewDatabase, run: Run, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This program does not know what is in it."""
    saved, other = new_database(), new_database()
    known = migrations_for(engine)
    later = Migration(len(known) + 1, "later", "CREATE TABLE later (id INTEGER);")
    with monkeypatch.context() as patch:
        patch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: [*known, later])
        fill(saved)
        run("backup", str(backup), url=saved)
    fill(other)
    before = everything(other)
    refused = run("restore", "--force", str(backup), url=other)

    assert 1 == refused.exit_code
    assert f"version {later.number}" in refused.stderr
    assert before == everything(other)


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    engine: str, new_database: NewDatabase, run: Run, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even over a database that has the newer tables already."""
    saved, other = new_database(), new_database()
    fill(saved)
    run("backup", str(backup), url=saved)
    known = migrations_for(engine)
    later = Migration(len(known) + 1, "later", "CREATE TABLE later (id INTEGER);")
    modules = ("migrations", *(["backup_postgresql"] if engine == "postgresql" else []))
    for module in modules:
        monkeypatch.setattr(f"sprocket_factory.database.{module}.migrations_for", lambda _engine: [*known, later])
    fill(other, factories=3)
    restored = run("restore", "--force", str(backup), url=other)
    checked = run("check", url=other)

    assert 0 == restored.exit_code, restored.output
    assert f"schema {later.number}" in checked.stdout
    assert "later 0" in checked.stdout
    assert everything(saved) == everything(other)


def test_no_id_is_given_again_after_a_restore(new_database: NewDatabase, run: Run, backup: Path) -> None:
    """Neither one that was removed before the backup, nor one that the database gave before the restore."""
    saved, empty, other = new_database(), new_database(), new_database()
    fill(saved)
    with Service(Settings(database_url=saved)) as service, Client(service.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket()).raise_for_status()
        engineer.delete("/sprockets/3").raise_for_status()
    run("backup", str(backup), url=saved)
    fill(other, factories=5)
    run("restore", str(backup), url=empty)
    run("restore", "--force", str(backup), url=other)

    assert [(4, 3), (4, 6)] == [next_ids(empty), next_ids(other)]


STEPS = {
    "sqlite": ("restoring_sqlite.prepare", "restoring_sqlite.pour_into"),
    "postgresql": ("restoring_postgresql.replace_tables", "restoring_postgresql.open_database"),
}
"""Of a restore, each before or behind the moment in which all is replaced."""


def test_no_id_is_given_again_by_a_server_beside_which_its_database_is_restored(
    engine: str, database_url: str, run: Run, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that it gives while the restore is under way either, however short before or behind the replacement."""
    given: list[int] = []
    with Service(Settings(database_url=database_url)) as service, Client(service.address) as engineer:

        def give() -> bool:
            given.append(engineer.post("/sprockets", json=a_sprocket()).json()["id"])
            return True

        def give_before(name: str) -> None:
            module, _, function = f"sprocket_factory.database.{name}".rpartition(".")
            step = getattr(import_module(module), function)
            monkeypatch.setattr(f"{module}.{function}", lambda *args, **flags: give() and step(*args, **flags))

        give()
        run("backup", str(backup), url=database_url)
        give()
        for name in STEPS[engine]:
            give_before(name)
        restored = run("restore", "--force", str(backup), url=database_url)
        give()

    assert 0 == restored.exit_code, restored.output
    assert 5 == len(given)
    assert sorted(set(given)) == given


def next_ids(url: str) -> tuple[int, int]:
    """Return the ids that the next sprocket and the next factory get."""
    with Service(Settings(database_url=url)) as service, Client(service.address) as engineer:
        sprocket = engineer.post("/sprockets", json=a_sprocket()).json()["id"]
        return sprocket, engineer.post("/factories", json={"name": "next"}).json()["id"]


def test_a_backup_is_one_file_for_its_user_alone_with_a_checksum(database_url: str, run: Run, backup: Path) -> None:
    """It holds what the database held, and nobody else may read it."""
    fill(database_url)
    made = run("backup", str(backup), url=database_url)
    checked = run("check", str(backup))

    assert 0 == made.exit_code, made.output
    assert {"monday", "monday.sha256"} == {path.name for path in backup.parent.iterdir() if "monday" in path.name}
    assert not list(backup.parent.glob(".*.partial*"))
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in backup.parent.glob("monday*")}
    assert re.fullmatch(r"[0-9a-f]{64}  monday\n", backup.with_name("monday.sha256").read_text())
    assert "production 100" in made.stdout
    assert (0, True) == (checked.exit_code, "monday is OK: schema" in checked.stdout)


def test_a_backup_does_not_replace_a_file_unless_it_is_told_to(database_url: str, run: Run, backup: Path) -> None:
    """What is there stays, and --force replaces it."""
    fill(database_url)
    backup.write_text("something else")
    refused = run("backup", str(backup), url=database_url)
    kept = backup.read_text()
    forced = run("backup", "--force", str(backup), url=database_url)

    assert (1, "something else") == (refused.exit_code, kept)
    assert 0 == forced.exit_code, forced.output
    assert 0 == run("check", str(backup)).exit_code


def test_a_backup_that_finds_no_room_leaves_what_was_there(database_url: str, run: Run, backup: Path) -> None:
    """The file of that name stays as it was, and nothing is left beside it."""
    fill(database_url, records=2000)
    backup.write_text("the last one")
    with no_file_larger_than(16 * KILOBYTES):
        failed = run("backup", "--force", str(backup), url=database_url)

    assert (1, "Error: ") == (failed.exit_code, failed.stderr[:7]), failed.output
    assert "Traceback" not in failed.output
    assert ("the last one", ["monday"]) == (
        backup.read_text(),
        [path.name for path in backup.parent.iterdir() if path.name.startswith(("monday", ".monday"))],
    )


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let every file that grows beyond this size be refused, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", [("backup", "there"), ("check",)])
def test_what_is_no_database_is_not_made_on_the_way(bare_database: str, run: Run, command: tuple[str, ...]) -> None:
    """A slip in an address ends with a sentence, and not with an empty backup."""
    refused = run(*command, url=bare_database)

    assert 1 == refused.exit_code
    assert re.search(r"There is no database at|There are no tables of ours at", refused.stderr)
    assert not Path("there").exists()


def test_a_backup_of_another_engine_is_refused(database_url: str, engine: str, run: Run, backup: Path) -> None:
    """The sentence says how to get it there."""
    backup.write_bytes(b"SQLite format 3\0" if engine == "postgresql" else b"PGDMP")
    refused = run("restore", str(backup), url=database_url)

    assert 1 == refused.exit_code
    assert "of another engine" in refused.stderr
    assert "sprocket-factory copy" in refused.stderr


def test_a_backup_signs_nobody_in(new_database: NewDatabase, run: Run, backup: Path) -> None:
    """What was signed out since a backup stays so after its restore: who is signed in stands in none. Keys do."""
    url, other = new_database(), new_database()
    with Service(Settings(database_url=url), anonymous_role="none") as service, Browser(service) as browser:
        key = make_key(service, "viewer").secret
        browser.sign_in(key)
        made = run("backup", str(backup), url=url)
        before, cookie = browser.me()[0], browser.cookie
    restored = run("restore", str(backup), url=other)
    with Service(Settings(database_url=other), anonymous_role="none") as service, Browser(service) as browser:
        after, by_key = browser.says(f"{COOKIE}={cookie}"), browser.sign_in(key).status_code

    assert [0, 0] == [made.exit_code, restored.exit_code], made.output + restored.output
    assert (200, 401, 303) == (before, after, by_key)


def test_a_backup_takes_the_place_of_a_file_alone(run: Run, database_url: str, tmp_path: Path) -> None:
    """What only looks like one, as /dev/null does, is not replaced, whatever --force says."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = run("backup", "--force", str(pipe), url=database_url)

    assert 1 == refused.exit_code
    assert "is no file" in refused.output
    assert pipe.is_fifo()
