"""What the service promises on PostgreSQL alone: how it starts, whose databases it takes, what it shows of secrets."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from click.testing import CliRunner

from command_line import run_here
from harness import BASE_PATH, TLS, Program
from postgresql_server import GUARDED, OWNER, PASSWORD, PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.database import open_database
from sprocket_factory.database.addresses import without_password
from sprocket_factory.database.migrations import migrations_for
from sprocket_factory.database.postgresql_pool import SERVER_SETTINGS

AT_ONCE = 4


@pytest.fixture
def database_url(postgresql: PostgreSQLServer) -> str:
    """Return the address of a database in which nothing is stored yet."""
    return postgresql.new_database()


@pytest.fixture
def guarded_url(database_url: str) -> str:
    """Return the address of a database for somebody who is asked for a password."""
    return database_url.replace(f"{OWNER}@", f"{GUARDED}@")


def with_password(url: str, password: str) -> str:
    """Return the address with a password in it."""
    return url.replace("@", f":{quote(password, safe='')}@", 1)


def test_servers_that_start_at_once_all_serve(postgresql: PostgreSQLServer, start: Callable[..., Program]) -> None:
    """On an empty database one of them applies each migration, and none of them fails."""
    url = postgresql.bare_database()
    programs = [start("serve", "--port", "0", "--database-url", url) for _ in range(AT_ONCE)]
    answers = [
        httpx.get(f"{program.wait_for_address()}{BASE_PATH}/sprockets", trust_env=False, verify=TLS)
        for program in programs
    ]

    applied = postgresql.ask("SELECT string_agg(name, ' ' ORDER BY number) FROM migrations", url)

    assert [(200, [])] * AT_ONCE == [(answer.status_code, answer.json()) for answer in answers]
    assert [migration.name for migration in migrations_for("postgresql")] == applied.split()


async def test_no_limit_cuts_a_migration(postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index on years of records takes minutes, and another server waits as long, whatever else may take how long."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_pool.COMMAND_SECONDS", 0.5)
    for limit in ("statement_timeout", "lock_timeout"):
        monkeypatch.setitem(SERVER_SETTINGS, limit, "0.5s")
    url = postgresql.bare_database()
    other = await asyncpg.connect(url)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY)")
    opening = asyncio.create_task(open_database(url))
    await asyncio.wait([opening], timeout=1)
    is_waiting = not opening.done()
    await transaction.rollback()
    await other.close()
    database = await opening
    applied = await database.all("SELECT name FROM migrations ORDER BY number")
    await database.close()

    assert is_waiting
    assert [migration.name for migration in migrations_for("postgresql")] == [name for (name,) in applied]


@pytest.mark.parametrize("table", ["sprockets (theirs INTEGER)", "migrations (theirs INTEGER)"])
def test_fault_36_a_database_that_another_program_uses_is_left_as_it_is(
    postgresql: PostgreSQLServer, tmp_path: Path, table: str
) -> None:
    """Where a table of ours is somebody else's the program does not start, and adds nothing beside it."""
    url = postgresql.bare_database()
    postgresql.ask(f"CREATE TABLE {table}", url)
    before = tables_of(postgresql, url)
    refused = run_here("serve", "--port", "0", "--database-url", url, folder=tmp_path)

    assert 1 == refused.returncode
    assert refused.stderr.startswith("Error: ")
    assert before == tables_of(postgresql, url)


def tables_of(postgresql: PostgreSQLServer, url: str) -> str:
    """Return the names of all tables."""
    return postgresql.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1", url)


def test_the_password_may_stand_in_a_file(start: Callable[..., Program], guarded_url: str, tmp_path: Path) -> None:
    """What the file holds is used as it is, whatever characters it has, but for the end of its line."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    program = start("serve", "--port", "0", "--database-url", guarded_url, "--database-password-file", str(secret))
    answer = httpx.get(f"{program.wait_for_address()}{BASE_PATH}/sprockets", trust_env=False, verify=TLS)

    assert (200, []) == (answer.status_code, answer.json())


def test_serve_shows_its_address_without_the_password(start: Callable[..., Program], guarded_url: str) -> None:
    """Whoever sees the screen or the log learns where the data lies, and not how to get there."""
    program = start("serve", "--port", "0", "--database-url", with_password(guarded_url, PASSWORD))
    address = program.wait_for_address()
    program.stop()

    assert f"Serving {guarded_url} at {address}" in program.output
    assert [] == [form for form in (PASSWORD, quote(PASSWORD, safe="")) if form in program.output]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://guarded:wr0ng@127.0.0.1:{port}/nowhere",
        "postgresql://guarded:wr0ng@127.0.0.1:{port},127.0.0.1:{port}/nowhere",
        "postgresql://guarded@127.0.0.1:{port}/nowhere?password=wr0ng",
        "postgresql://guarded@127.0.0.1:{port}/nowhere?application_name=a&password=wr0ng&connect_timeout=1",
        "postgresql://guarded:@wr0ng@127.0.0.1:{port}/nowhere",
        "postgresql://guarded:wr0ng@127.0.0.1:port/nowhere",
        "postgresql://guarded:wr0ng@[127.0.0.1/nowhere",
        "postgres://guarded:wr0ng@127.0.0.1:{port}/nowhere",
        *(f"postgresql://guarded:wr0ng{sign}wr0ng@127.0.0.1:{{port}}/nowhere?user=x" for sign in "/@?#:[% &"),
        "postgresql://guarded:wr0ng/wr0ng@wr0ng?wr0ng@127.0.0.1:{port}/nowhere",
        "postgresql://guarded:127/wr0ng@127.0.0.1:{port}/nowhere",
        "postgresql://guarded@server:wr0ng@127.0.0.1:{port}/nowhere",
        "postgresql://guarded@127.0.0.1:{port}/nowhere?password=wr0ng@wr0ng",
        "postgresql://127.0.0.1:{port}/nowhere?user=guarded&sslmode=disable&sslpassword=wr0ng&password=wr0ng",
        "postgresql:/guarded:wr0ng@127.0.0.1:{port}/nowhere",
    ],
)
@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_refused_address_is_shown_without_the_password(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch, url: str, command: str
) -> None:
    """What cannot be opened is named in one sentence, in which there is no part of a secret."""
    monkeypatch.setattr("sprocket_factory.database.postgresql_opening.START_SECONDS", 0)
    refused = CliRunner().invoke(cli, [command, "--database-url", url.format(port=postgresql.port)])

    assert 1 == refused.exit_code
    assert refused.stderr.startswith("Error: postgres")
    assert "wr0ng" not in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://guarded@server.example:5432/factory?options=-c%20x@y",
        "postgresql://server.example:5432/factory?user=guarded@server",
        "postgresql:///factory?host=/run/postgresql&user=guarded",
        "sqlite:////folder/file:1@x.db",
    ],
)
def test_an_address_without_a_password_is_shown_as_it_is(url: str) -> None:
    """Wherever else it has an @ or a colon."""
    assert url == without_password(url)


def test_a_server_that_is_starting_is_waited_for(start: Callable[..., Program]) -> None:
    """Started together with its database, the service serves as soon as that answers."""
    with PostgreSQLServer() as slow:
        url = slow.new_database()
        slow.stop()
        program = start("serve", "--port", "0", "--database-url", url)
        with ThreadPoolExecutor() as others:
            waiting = others.submit(program.wait_for_address)
            slow.start()
            address = waiting.result()
        answer = httpx.get(f"{address}{BASE_PATH}/sprockets", trust_env=False, verify=TLS)
        program.kill()

    assert 200 == answer.status_code
