"""The schema is brought up to date where a server starts, or by `sprocket-factory migrate`; on both engines alike."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import run_program
from sprocket_factory.commands import cli
from sprocket_factory.database import Row, Transaction, open_database
from sprocket_factory.database.migrations import Migration, migrations_for
from sprocket_factory.errors import Unusable

AT_ONCE = 10


async def ask(url: str, sql: str) -> list[Row]:
    """Return what a database holds, after bringing its schema up to date."""
    database = await open_database(url)
    try:
        return [tuple(row) for row in await database.all(sql)]
    finally:
        await database.close()


async def make_newer(url: str) -> None:
    """Let the schema be that of a later program."""

    async def apply_more(tx: Transaction) -> None:
        await tx.run(
            "INSERT INTO migrations (number, name, applied_at) SELECT 9999, 'later', applied_at FROM migrations LIMIT 1"
        )

    database = await open_database(url)
    await database.write(apply_more, by="test")
    await database.close()


def applied_to(url: str) -> list[Row]:
    """Return which migrations a database has seen."""
    return asyncio.run(ask(url, "SELECT number, name FROM migrations ORDER BY number"))


def all_of(engine: str) -> list[Row]:
    """Return every migration there is."""
    return [(migration.number, migration.name) for migration in migrations_for(engine)]


def lines(word: str, migrations: list[Row]) -> list[str]:
    """Return what `migrate` says of these."""
    return [f"{word}  {number:04d}  {name}" for number, name in migrations]


def run(url: str, *command: str) -> Result:
    """Run a command on a database."""
    return CliRunner().invoke(cli, [*command, "--database-url", url])


def test_migrate_says_what_is_missing_and_applies_it(engine: str, bare_database: str) -> None:
    """A dry run tells of each migration, the real one applies it, and after that nothing is left to do."""
    said = [run(bare_database, "migrate", *dry_run) for dry_run in (["--dry-run"], [], [], ["--dry-run"])]

    assert [0] * 4 == [done.exit_code for done in said], said
    assert [
        lines("missing", all_of(engine)),
        lines("applied", all_of(engine)),
        ["The schema is up to date."],
        ["The schema is up to date."],
    ] == [done.stdout.splitlines() for done in said]
    assert all_of(engine) == applied_to(bare_database)


def test_a_dry_run_changes_nothing(bare_database: str) -> None:
    """After it there is no table yet: whoever must find a database finds none."""
    run(bare_database, "migrate", "--dry-run")

    with pytest.raises(Unusable, match=r"There is no database at|There are no tables of ours at"):
        asyncio.run(open_database(bare_database, must_exist=True))


def test_whoever_opens_a_database_at_once_with_others_finds_one_schema(engine: str, bare_database: str) -> None:
    """Of ten who open an empty database one applies each migration, and the others wait for it."""
    together = [bare_database] * AT_ONCE
    with ThreadPoolExecutor(AT_ONCE) as others:
        found = list(others.map(applied_to, together))

    assert [all_of(engine)] * AT_ONCE == found


def test_fault_36_a_newer_schema_is_refused(database_url: str, tmp_path: Path) -> None:
    """A program older than the database says so instead of guessing, whatever it is told to do."""
    asyncio.run(make_newer(database_url))

    refused = [
        run(database_url, *command) for command in (["migrate"], ["migrate", "--dry-run"], ["export", "sprockets"])
    ]
    served = run_program("serve", "--port", "0", "--database-url", database_url, folder=tmp_path)

    assert [1] * 4 == [served.returncode, *(done.exit_code for done in refused)]
    complaints = [served.stderr, *(done.stderr for done in refused)]
    assert [] == [text for text in complaints if not ("version 9999" in text and "newer program" in text)]


def test_fault_36_a_database_that_must_exist_is_not_made(bare_database: str, tmp_path: Path) -> None:
    """`--must-exist` keeps a slip in an address from making an empty database."""
    refused = run_program("serve", "--must-exist", "--port", "0", "--database-url", bare_database, folder=tmp_path)

    assert 1 == refused.returncode
    with pytest.raises(Unusable):
        asyncio.run(open_database(bare_database, must_exist=True))


def test_fault_37_a_migration_that_fails_half_way_leaves_nothing(
    engine: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it did before nothing is left, and the next start applies it whole."""
    known = migrations_for(engine)
    broken = Migration(len(known) + 1, "half", "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1);")
    mended = broken._replace(sql="CREATE TABLE half (id INTEGER); INSERT INTO half VALUES (1);")
    before = applied_to(database_url)

    monkeypatch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: [*known, broken])
    with pytest.raises(Unusable):
        asyncio.run(open_database(database_url))
    monkeypatch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: [*known, mended])

    assert [(1,)] == asyncio.run(ask(database_url, "SELECT id FROM half"))
    assert [*before, (broken.number, "half")] == applied_to(database_url)
