"""Backups of an SQLite file, and what may stand in the way of restoring one."""

import asyncio
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from backups import damage, everything, file_of, fill, run_command
from harness import START_SECONDS, Client, Service, a_sprocket
from sprocket_factory.database import ServerPlace, open_database
from sprocket_factory.database.backup import restore as restore_backup
from sprocket_factory.database.backup_folder import turn_taken
from sprocket_factory.database.backup_sqlite import copy_step
from sprocket_factory.database.restoring_sqlite import pour_into
from sprocket_factory.database.serving import locked
from sprocket_factory.settings import Settings


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the address of a database that holds something."""
    address = f"sqlite:///{tmp_path / 'factory.db'}"
    fill(address)
    return address


@pytest.fixture
def backup(tmp_path: Path, url: str) -> Path:
    """Return a backup of it."""
    path = tmp_path / "monday.db"
    assert 0 == run_command(None, "backup", str(path), url=url).exit_code
    return path


def restore(backup: Path, url: str, *flags: str) -> Any:
    """Run the command."""
    return run_command(None, "restore", *flags, str(backup), url=url)


def test_fault_38_a_backup_ends_however_much_is_written_meanwhile(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of one moment, though somebody writes after every page: a copy that followed would begin anew each time."""
    with closing(apsw.Connection(str(file_of(url)))) as writer:
        pages = int(writer.pragma("page_count"))
        steps = 0

        def write() -> None:
            # What two tables hold goes together at every moment.
            writer.execute(
                "BEGIN IMMEDIATE; UPDATE sprockets SET teeth = teeth + 1 WHERE id = 1; UPDATE factories SET name ="
                " 'teeth ' || (SELECT teeth FROM sprockets WHERE id = 1) WHERE id = 1; COMMIT"
            )

        def step(copying: Any, _target: Path) -> None:
            nonlocal steps
            steps += 1
            assert steps <= 2 * pages, "it does not end"
            copying.step(1)
            write()

        write()
        monkeypatch.setattr("sprocket_factory.database.backup_sqlite.copy_step", step)
        made = run_command(None, "backup", str(tmp_path / "busy.db"), url=url)
    monkeypatch.undo()
    restored = f"sqlite:///{tmp_path / 'restored.db'}"
    restore(tmp_path / "busy.db", restored)
    sprockets, factories, _ = everything(restored)

    assert 0 == made.exit_code, made.output
    assert (21, "teeth 21") == (sprockets[0]["teeth"], factories[0]["name"])
    assert steps > 1


def test_fault_38_what_a_lost_database_has_left_behind_is_not_replayed(url: str, backup: Path) -> None:
    """Its log and its index belong to the old file; they are kept under another name, beside the restored one."""
    path = file_of(url)
    with Service(Settings(database_url=url)) as service, Client(service.address) as engineer:
        for _ in range(20):
            engineer.post("/sprockets", json=a_sprocket(teeth=99))
        left = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("-wal", "-shm")}
    path.unlink()
    for suffix, content in left.items():
        Path(f"{path}{suffix}").write_bytes(content)
    restored = restore(backup, url)
    kept = [file for file in path.parent.iterdir() if ".replaced-" in file.name]
    sprockets, _, production = everything(url)

    assert 0 == restored.exit_code, restored.output
    assert ([20, 21], 100) == ([sprocket["teeth"] for sprocket in sprockets], len(production))
    assert sorted(left.values()) == sorted(file.read_bytes() for file in kept)


def test_fault_38_a_damaged_database_is_kept_beside_the_restored_one(url: str, backup: Path) -> None:
    """It is refused without --force; with it nothing is thrown away, and the file is as private as the old one."""
    path = file_of(url)
    expected = everything(url)
    path.write_bytes(garbage := b"\xa5" * 8192)
    path.chmod(0o640)
    refused = restore(backup, url)
    forced = restore(backup, url, "--force")
    (kept,) = [file for file in path.parent.iterdir() if ".replaced-" in file.name]

    assert (1, True) == (refused.exit_code, "is damaged" in refused.stderr)
    assert 0 == forced.exit_code, forced.output
    assert garbage == kept.read_bytes()
    assert 0o640 == path.stat().st_mode & 0o777
    assert expected == everything(url)


def test_fault_38_a_damaged_database_is_not_replaced_under_a_server(url: str, backup: Path) -> None:
    """The server would go on with the old file, and what it acknowledged would be gone."""
    path = file_of(url)
    path.write_bytes(garbage := b"\xa5" * 8192)
    with locked(path):
        refused = restore(backup, url, "--force")

    assert (1, garbage) == (refused.exit_code, path.read_bytes())
    assert "Stop that one first" in refused.stderr


def test_fault_38_another_programs_database_is_not_restored_over(backup: Path, tmp_path: Path) -> None:
    """Whatever is said: the address is wrong."""
    foreign = tmp_path / "foreign.db"
    with closing(apsw.Connection(str(foreign))) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = foreign.read_bytes()
    refused = [
        restore(backup, f"sqlite:///{foreign}", "--force"),
        restore(foreign, f"sqlite:///{tmp_path / 'new.db'}"),
        run_command(None, "backup", str(tmp_path / "copy.db"), url=f"sqlite:///{foreign}"),
        run_command(None, "check", url=f"sqlite:///{foreign}"),
    ]

    assert [1] * 4 == [done.exit_code for done in refused]
    assert [] == [done.output for done in refused if "another program's database" not in done.output]
    assert before == foreign.read_bytes()
    assert not (tmp_path / "copy.db").exists()
    assert not (tmp_path / "new.db").exists()


def test_fault_38_a_backup_that_was_changed_is_not_restored(backup: Path, tmp_path: Path) -> None:
    """A digit that turned leaves a database that is sound in itself; its checksum tells, and goes if that was meant."""
    target = f"sqlite:///{tmp_path / 'restored.db'}"
    backup.write_bytes(backup.read_bytes().replace(b"factory 2", b"factory 3"))
    refused = restore(backup, target)
    checked = run_command(None, "check", str(backup))
    backup.with_name("monday.db.sha256").unlink()
    meant = restore(backup, target)

    assert [1, 1, 0] == [done.exit_code for done in (refused, checked, meant)]
    assert "its SHA-256 differs" in refused.stderr
    assert "its SHA-256 differs" in checked.stdout
    assert "remove monday.db.sha256" in refused.stderr


def test_a_database_is_no_backup_of_itself(url: str) -> None:
    """Neither way, and by no other name for it."""
    before = everything(url)
    path = file_of(url)
    link = path.with_name("link.db")
    link.symlink_to(path)
    refused = [
        run_command(None, "backup", "--force", str(link), url=url),
        run_command(None, "restore", "--force", str(link), url=url),
    ]

    assert [1, 1] == [done.exit_code for done in refused]
    assert [] == [done.output for done in refused if "is the database itself" not in done.output]
    assert before == everything(url)


def test_a_backup_is_a_file_that_any_sqlite_reads(backup: Path) -> None:
    """It is whole in itself, without a log beside it: it may be opened where nothing can be written."""
    with closing(
        apsw.Connection(f"file:{backup}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    ) as c:
        assert "delete" == c.pragma("journal_mode")
        assert (100,) == next(c.execute("SELECT count(*) FROM production"))


@pytest.mark.parametrize("name", ["[monday]*.db", f"{'é' * 127}x"])
def test_a_backup_that_fails_leaves_nothing_whatever_it_was_to_be_called(url: str, tmp_path: Path, name: str) -> None:
    """Its name may have signs that stand for others, or be as long as a name may be."""
    damage(file_of(url))
    failed = run_command(None, "backup", str(tmp_path / name), url=url)

    assert 1 == failed.exit_code
    assert "No backup" in failed.stderr
    assert [] == [path for path in tmp_path.iterdir() if path.name.startswith((".", name[0]))]


def test_what_was_damaged_unnoticed_is_not_kept_as_a_backup(url: str, backup: Path) -> None:
    """A backup of it would push out the good ones; the last one stays, and the sentence says what to do."""
    before = backup.read_bytes()
    damage(file_of(url))
    failed = run_command(None, "backup", "--force", str(backup), url=url)

    assert (1, before) == (failed.exit_code, backup.read_bytes())
    assert "sprocket-factory restore" in failed.stderr
    assert not list(backup.parent.glob(".*.partial*"))


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_the_turn_of_a_scheduled_backup_takes_nothing_from_others_in_its_folder(
    url: str, backup: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Neither from a backup that somebody makes there by hand, nor from a restore of a database that lies there."""
    turns = []

    def step(copying: Any, target: Path) -> None:
        with turn_taken(backup.parent) as is_ours:
            turns.append(is_ours)
        copy_step(copying, target)

    monkeypatch.setattr("sprocket_factory.database.backup_sqlite.copy_step", step)
    done = run_command(None, command, "--force", str(backup), url=url)
    left = list(backup.parent.glob(".*.partial*"))

    assert (0, True, []) == (done.exit_code, all(turns), left), done.output
    assert turns


async def test_a_restored_database_may_be_opened_at_once(url: str, backup: Path) -> None:
    """Whoever had it open meanwhile reads what was restored."""
    database = await open_database(url)
    try:
        await database.all("SELECT * FROM sprockets")
        with closing(apsw.Connection(str(file_of(url)))) as other:
            other.execute("DELETE FROM production")
        restored = restore_in_thread(backup, url)
        rows = await database.all("SELECT count(*) FROM production")
    finally:
        await database.close()

    assert (0, [(100,)]) == (restored.exit_code, rows)


def restore_in_thread(backup: Path, url: str) -> Any:
    """Run the command beside a running loop."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(restore(backup, url, "--force")))
    thread.start()
    thread.join()
    return results[0]


async def test_a_restore_that_is_given_up_changes_nothing(
    url: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before anything was replaced leaves what was there, and nothing beside it."""
    with closing(apsw.Connection(str(file_of(url)))) as connection:
        connection.execute("DELETE FROM production")
    begun = threading.Event()

    def slow_step(copying: Any, _target: Path) -> None:
        copying.step(1)
        begun.set()
        time.sleep(0.05)

    monkeypatch.setattr("sprocket_factory.database.backup_sqlite.copy_step", slow_step)
    restoring = asyncio.create_task(restore_backup(ServerPlace(url, "", 1, through_proxy=False), backup, force=True))
    assert await asyncio.to_thread(begun.wait, START_SECONDS)
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring

    assert [] == (await asyncio.to_thread(everything, url))[2]
    assert not list(backup.parent.glob(".*.partial*"))


async def test_a_restore_that_is_given_up_too_late_is_told_of(
    url: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once everything is replaced it has happened, whatever was wished meanwhile."""
    replacing, go_on = threading.Event(), threading.Event()

    def held(target: Path, partial: Path) -> None:
        pour_into(target, partial)
        replacing.set()
        go_on.wait()

    monkeypatch.setattr("sprocket_factory.database.restoring_sqlite.pour_into", held)
    restoring = asyncio.create_task(restore_backup(ServerPlace(url, "", 1, through_proxy=False), backup, force=True))
    assert await asyncio.to_thread(replacing.wait, START_SECONDS)
    restoring.cancel()
    await asyncio.sleep(0)
    go_on.set()

    assert 100 == (await restoring).rows["production"]
