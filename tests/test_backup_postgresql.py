"""Backups of a PostgreSQL database: its own programs, what they are told, and what of the database is ours."""

import os
import shlex
from pathlib import Path

import pytest
from click.testing import Result

from backups import everything, fill, lose, run_command
from postgresql_server import GUARDED, PASSWORD, PostgreSQLServer

NAMES = ("pg_dump", "pg_restore", "psql")

EVERYTHING_IN_THE_SCHEMA = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = 'public')
SELECT 'relation', CAST(relname AS text), CAST(relkind AS text) FROM pg_class JOIN ours ON ours.oid = relnamespace
UNION ALL
SELECT 'column', concat(relname, '.', attname), concat(
    format_type(atttypid, atttypmod), attnotnull, attidentity, attcollation, pg_get_expr(adbin, adrelid)
)
FROM pg_class JOIN ours ON ours.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT 'rule', conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c JOIN ours ON ours.oid = connamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, prosrc FROM pg_proc JOIN ours ON ours.oid = pronamespace
UNION ALL SELECT 'sequence', sequencename, CAST(last_value AS text) FROM pg_sequences WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""


@pytest.fixture
def url(postgresql: PostgreSQLServer) -> str:
    """Return the address of a database that holds something."""
    address = postgresql.new_database()
    fill(address)
    return address


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return where a backup goes."""
    return tmp_path / "monday.dump"


class Programs:
    """A folder of stand-ins for PostgreSQL's programs, each of which does something before the real one, or instead."""

    def __init__(self, folder: Path, real: Path) -> None:
        self.folder = folder
        self._real = real
        for name in NAMES:
            self.replace(name, "")

    def real(self, name: str) -> Path:
        """Return where the real program is."""
        return self._real / name

    def replace(self, name: str, script: str) -> None:
        """Let the program do this; where that does not end it the real one goes on."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\n{script}\nexec {shlex.quote(str(self._real / name))} "$@"\n')
        path.chmod(0o755)

    def run(self, *command: str, url: str) -> Result:
        """Run a command with these."""
        return run_command(self.folder, *command, url=url)


@pytest.fixture
def programs(tmp_path: Path, postgresql: PostgreSQLServer) -> Programs:
    """Return stand-ins that do what the real ones do."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return Programs(folder, postgresql.programs)


def test_no_program_is_told_the_password_where_everybody_sees_it(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path, tmp_path: Path
) -> None:
    """It stands in their environment, which only their user can read, whether it came by a file or in the address."""
    guarded = url.replace("factory@", f"{GUARDED}@")
    postgresql.ask("ALTER SCHEMA public OWNER TO factory; GRANT factory TO guarded", url)
    for name in NAMES:
        programs.replace(name, f'echo "$@" >> {tmp_path}/told; [ -z "$PGPASSWORD" ] || echo {name} >> {tmp_path}/knew')
    (tmp_path / "password").write_text(PASSWORD)
    by_file = ("--database-password-file", str(tmp_path / "password"))
    in_address = f"{guarded}?password=open%3A%20s%40sam%25%2Fe"
    done = [
        programs.run("backup", str(backup), *by_file, url=guarded),
        programs.run("backup", "--force", str(backup), url=in_address),
        programs.run("restore", "--force", str(backup), *by_file, url=guarded),
    ]

    assert [0] * 3 == [one.exit_code for one in done], [one.output for one in done]
    assert PASSWORD not in (tmp_path / "told").read_text()
    assert "sam" not in (tmp_path / "told").read_text()
    assert {"pg_dump", "psql"} == set((tmp_path / "knew").read_text().split())


def test_a_program_that_is_missing_is_named(programs: Programs, url: str, backup: Path) -> None:
    """The sentence says what to install, or how to say where it is; nothing is made."""
    (programs.folder / "pg_dump").unlink()
    failed = programs.run("backup", str(backup), url=url)

    assert (1, False) == (failed.exit_code, backup.exists())
    assert f"pg_dump cannot be found in {programs.folder}." in failed.stderr
    assert "--postgresql-programs" in failed.stderr


def test_the_programs_are_looked_for_on_the_path(
    postgresql: PostgreSQLServer, url: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder is named."""
    monkeypatch.setenv("PATH", f"{postgresql.programs}{os.pathsep}{os.environ['PATH']}")
    made = run_command(None, "backup", str(backup), url=url)
    monkeypatch.setenv("PATH", "/nowhere")
    failed = run_command(None, "backup", "--force", str(backup), url=url)

    assert 0 == made.exit_code, made.output
    assert "cannot be found on the PATH" in failed.stderr


def test_a_program_that_is_older_than_the_server_is_refused(programs: Programs, url: str, backup: Path) -> None:
    """It could not dump everything. The sentence names both versions."""
    programs.replace("pg_dump", "echo 'pg_dump (PostgreSQL) 14.9 (Debian 14.9-1)'; exit 0")
    failed = programs.run("backup", str(backup), url=url)

    assert (1, False) == (failed.exit_code, backup.exists())
    assert "is of version 14, and the server of 18" in failed.stderr


@pytest.mark.parametrize("script", ["echo pg_dump: error: no luck >&2; exit 1", "exit 0"])
def test_fault_38_a_dump_that_fails_is_not_kept(programs: Programs, url: str, backup: Path, script: str) -> None:
    """Whether the program says so or not: what was there stays, and nothing is left beside it."""
    programs.run("backup", str(backup), url=url)
    before = backup.read_bytes()
    programs.replace("pg_dump", f'[ "$1" = --version ] || {{ {script}; }}')
    failed = programs.run("backup", "--force", str(backup), url=url)

    assert (1, before) == (failed.exit_code, backup.read_bytes()), failed.output
    assert not list(backup.parent.glob(".*.partial*"))


def test_fault_38_a_dump_that_lacks_rows_is_not_kept(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path
) -> None:
    """A program that says it has done everything is not believed: the rows of each table are counted."""
    other = postgresql.new_database()
    programs.run("backup", str(backup.with_name("empty.dump")), url=other)
    copy = f'for word; do case $word in --file=*) cp {backup.with_name("empty.dump")} "${{word#--file=}}";; esac; done'
    programs.replace("pg_dump", f'[ "$1" = --version ] || {{ {copy}; exit 0; }}')
    failed = programs.run("backup", str(backup), url=url)

    assert (1, False) == (failed.exit_code, backup.exists())
    assert "The backup holds" in failed.stderr


@pytest.mark.parametrize(
    "script", ["head -c 6000; exit 1", "head -c 6000; kill -9 $$", "sed '/^CREATE INDEX/,$d'; exit 1"]
)
def test_fault_38_a_restore_that_breaks_off_changes_nothing(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path, script: str
) -> None:
    """It is one transaction, which is committed only once everything has come; all rows may have come by then."""
    programs.run("backup", str(backup), url=url)
    before = everything(url), schema_of(postgresql, url)
    counter = programs.folder / "second"  # the first time all of it is read
    programs.replace(
        "pg_restore",
        f'if [ -e {counter} ]; then {programs.real("pg_restore")} "$@" | {script}; fi; : > {counter}',
    )
    failed = programs.run("restore", "--force", str(backup), url=url)

    assert 1 == failed.exit_code, failed.output
    assert "Everything is as it was." in failed.stderr
    assert before == (everything(url), schema_of(postgresql, url))


def test_fault_38_a_restore_that_the_server_refuses_changes_nothing(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path
) -> None:
    """A view of somebody else's rests on a table: it is not dropped along, and the sentence names it."""
    programs.run("backup", str(backup), url=url)
    postgresql.ask("CREATE VIEW report AS SELECT * FROM production", url)
    before = everything(url)
    failed = programs.run("restore", "--force", str(backup), url=url)

    assert 1 == failed.exit_code
    assert "other objects depend on" in failed.stderr
    assert before == everything(url)


def test_what_is_not_ours_is_neither_saved_nor_touched(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path
) -> None:
    """Another program may keep its tables beside ours."""
    postgresql.ask("CREATE TABLE theirs AS SELECT 1 AS id", url)
    made = programs.run("backup", str(backup), url=url)
    postgresql.ask("INSERT INTO theirs VALUES (2)", url)
    restored = programs.run("restore", "--force", str(backup), url=url)

    assert [0, 0] == [made.exit_code, restored.exit_code], made.output + restored.output
    assert "theirs" not in made.stdout
    assert "2" == postgresql.ask("SELECT count(*) FROM theirs", url)


def test_all_that_the_schema_has_comes_back(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path
) -> None:
    """Tables, indexes, sequences, rules: what the migrations make is the same after a restore from nothing."""
    programs.run("backup", str(backup), url=url)
    before = schema_of(postgresql, url)
    lose(url, postgresql)
    lost = schema_of(postgresql, url)
    restored = programs.run("restore", str(backup), url=url)

    assert 0 == restored.exit_code, restored.output
    assert before != lost
    assert before == schema_of(postgresql, url)


def schema_of(postgresql: PostgreSQLServer, url: str) -> str:
    """Return everything there is in the schema, each thing with what it is made of."""
    return postgresql.ask(EVERYTHING_IN_THE_SCHEMA, url)


def test_fault_38_another_programs_tables_are_not_dropped(
    postgresql: PostgreSQLServer, programs: Programs, url: str, backup: Path
) -> None:
    """A database where one of our names is somebody else's is refused, whatever is said."""
    programs.run("backup", str(backup), url=url)
    other = postgresql.bare_database()
    postgresql.ask("CREATE TABLE sprockets (theirs INTEGER)", other)
    refused = programs.run("restore", "--force", str(backup), url=other)

    assert 1 == refused.exit_code
    assert "another program" in refused.stderr
    assert "theirs" == postgresql.ask(
        "SELECT attname FROM pg_attribute WHERE attnum = 1 AND attrelid = 'sprockets'::regclass", other
    )


def test_no_backup_is_tried_through_a_proxy(programs: Programs, url: str, backup: Path) -> None:
    """Between two statements it may give out another connection, so that the dump would be of two moments."""
    refused = programs.run("backup", str(backup), "--database-through-proxy", url=url)

    assert (1, False) == (refused.exit_code, backup.exists())
    assert "Name PostgreSQL itself" in refused.stderr


def test_what_the_address_says_of_the_session_reaches_the_programs(programs: Programs, url: str, backup: Path) -> None:
    """The driver takes settings of the server in an address, which the programs would refuse there."""
    asked = f"{url}?sslmode=disable&search_path=public&work_mem=8MB"
    made = programs.run("backup", str(backup), url=asked)
    restored = programs.run("restore", "--force", str(backup), url=asked)

    assert [0, 0] == [made.exit_code, restored.exit_code], made.output + restored.output
