"""`sprocket-factory check`: what is sound is called OK, and what is not is named, on both engines."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from backups import file_of, fill, run_command
from postgresql_server import PostgreSQLServer
from sprocket_factory.database.migrations import Migration, migrations_for


@pytest.fixture
def server(engine: str, request: pytest.FixtureRequest) -> PostgreSQLServer | None:
    """Return the PostgreSQL server, where the test runs on one."""
    return request.getfixturevalue("postgresql") if engine == "postgresql" else None


@pytest.fixture
def past_the_rules(database_url: str, server: PostgreSQLServer | None) -> Callable[[str], None]:
    """Return what runs SQL in the database as nobody should."""

    def run(sql: str) -> None:
        if server is not None:
            server.ask(f"SET session_replication_role = replica; {sql}", database_url)
            return
        with closing(apsw.Connection(str(file_of(database_url)))) as connection:
            connection.execute(sql)

    return run


def test_a_sound_database_is_ok(database_url: str, engine: str) -> None:
    """It is said how much each table holds, and of which schema it is."""
    fill(database_url)
    checked = run_command(None, "check", url=database_url)

    assert 0 == checked.exit_code, checked.output
    assert " is OK: " in checked.stdout
    assert f"schema {len(migrations_for(engine))}" in checked.stdout
    assert "production 100" in checked.stdout
    assert "sprockets 2" in checked.stdout


def test_a_record_of_no_factory_is_named(database_url: str, past_the_rules: Callable[[str], None]) -> None:
    """However it came there; the exit code is 1, and it is said what would restore the database."""
    fill(database_url)
    past_the_rules("DELETE FROM factories WHERE id = 1")
    checked = run_command(None, "check", url=database_url)

    assert 1 == checked.exit_code
    assert "is NOT sound" in checked.stdout
    assert "production has a row that refers to one of factories that is not there." in checked.stdout
    assert "sprocket-factory restore --force" in checked.stdout


def test_the_newest_backup_is_named(
    database_url: str, past_the_rules: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that a server has made, where there are any."""
    fill(database_url)
    past_the_rules("DELETE FROM factories WHERE id = 1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backups").mkdir()
    for day in (1, 3, 2):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        (tmp_path / "backups" / f"sprocket-factory-{moment:%Y%m%dT%H%M%SZ}.db").touch()
    checked = run_command(None, "check", url=database_url)

    assert f"restore --force {tmp_path}/backups/sprocket-factory-20260103T000000Z.db`" in checked.stdout


def test_an_older_schema_is_ok_and_said(database_url: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start brings it up to date."""
    fill(database_url)
    later = [*migrations_for(engine), Migration(9999, "later", "")]
    monkeypatch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: later)
    checked = run_command(None, "check", url=database_url)

    assert 0 == checked.exit_code
    assert "lacks 1 migrations" in checked.stdout


def test_a_newer_schema_is_not_ok(database_url: str, past_the_rules: Callable[[str], None]) -> None:
    """This program does not know what is in it."""
    fill(database_url)
    past_the_rules(
        "INSERT INTO migrations (number, name, applied_at) SELECT 9999, 'later', applied_at FROM migrations LIMIT 1"
    )
    checked = run_command(None, "check", url=database_url)

    assert 1 == checked.exit_code
    assert "version 9999" in checked.stdout


def test_a_damaged_page_is_found_wherever_it_lies(tmp_path: Path) -> None:
    """Each page of an SQLite file that holds records or leads to them; nothing is changed by looking."""
    path = tmp_path / "factory.db"
    fill(f"sqlite:///{path}", records=400)
    before = path.read_bytes()
    pages = [
        number
        for number in range(len(before) // 4096)
        if before[number * 4096 + 200 : number * 4096 + 4000].strip(b"\0")
    ]
    missed = []
    for number in pages:
        spoiled = bytearray(before)
        spoiled[number * 4096 : (number + 1) * 4096] = b"\xa5" * 4096
        path.write_bytes(spoiled)
        checked = run_command(None, "check", url=f"sqlite:///{path}")
        if checked.exit_code != 1 or "Traceback" in checked.output or path.read_bytes() != spoiled:
            missed.append((number, checked.output))

    assert [] == missed
    assert len(pages) > 5


def test_rows_that_cannot_be_read_are_found() -> None:
    """A scribbled page of PostgreSQL's fails its checksum when it is read, and the table is named."""
    with PostgreSQLServer() as server:
        url = server.new_database()
        fill(url, records=500)
        file = server.folder / "data" / server.ask("SELECT pg_relation_filepath('production')", url)
        server.stop()
        content = file.read_bytes()
        file.write_bytes(content[:4096] + b"\xa5" * 1024 + content[5120:])
        server.start()
        checked = run_command(None, "check", url=url)

    assert 1 == checked.exit_code, checked.output
    assert "production cannot be read whole" in checked.stdout


def test_several_backups_are_checked_at_once(tmp_path: Path) -> None:
    """Each is called OK or not, and one that is not makes the exit code 1."""
    url = f"sqlite:///{tmp_path / 'factory.db'}"
    fill(url)
    run_command(None, "backup", str(tmp_path / "good"), url=url)
    (tmp_path / "bad").write_bytes(b"no backup")
    checked = run_command(None, "check", str(tmp_path / "bad"), str(tmp_path / "good"), str(tmp_path / "missing"))

    assert 1 == checked.exit_code
    assert ["bad is NOT sound", "good is OK", "missing is NOT sound"] == [
        line.rpartition("/")[2].partition(":")[0]
        for line in checked.stdout.splitlines()
        if line.startswith(str(tmp_path))
    ]


def test_a_server_that_does_not_answer_is_no_damage(postgresql: PostgreSQLServer) -> None:
    """Nobody is told to restore anything because a password is wrong."""
    failed = run_command(None, "check", url=postgresql.url("nowhere"))

    assert 1 == failed.exit_code
    assert "cannot be opened" in failed.stderr
    assert "restore" not in failed.output
