"""The command line: settings, starting, stopping."""

import json
import re
import socket
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from command_line import run_here
from harness import BASE_PATH, TLS, Program, run_program
from sprocket_factory.commands import cli
from sprocket_factory.settings import Settings


def test_serve_announces_a_new_database_with_its_absolute_path(start: Callable[..., Program], tmp_path: Path) -> None:
    """A slip in an address shows at once; the second start finds the database and announces none."""
    first = start("serve", "--port", "0")
    first.wait_for_address()
    assert 0 == first.stop()
    second = start("serve", "--port", "0", "--must-exist")
    second.wait_for_address()
    assert 0 == second.stop()

    assert f"Made a new database: {tmp_path / 'sprocket-factory.db'}" in first.output
    assert "Made a new database" not in second.output


def test_load_announces_a_new_database_with_its_absolute_path(tmp_path: Path) -> None:
    """Whoever loads into a file that is not there yet makes the database on the way, and learns where it is."""
    (tmp_path / "nothing.json").write_text("{}")
    done = run_program("load", "nothing.json", "--database-url", "sqlite:///made.db", folder=tmp_path)

    assert 0 == done.returncode
    assert f"Made a new database: {tmp_path / 'made.db'}" in done.stderr


def test_serve_refuses_to_make_a_database_where_it_must_exist(tmp_path: Path) -> None:
    """`--must-exist` ends with a sentence that names the path."""
    done = run_here("serve", "--port", "0", "--must-exist", folder=tmp_path)

    assert 1 == done.returncode
    assert f"There is no database at {tmp_path / 'sprocket-factory.db'}." in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - it must not listen there
def test_serve_refuses_any_address_but_loopback_where_anybody_may_write(tmp_path: Path, host: str) -> None:
    """Where callers without a key may write, nobody from outside may reach the service; nothing is made."""
    role = {"0.0.0.0": "operator", "::": "engineer"}.get(host, "admin")  # noqa: S104 - it must not listen there
    done = run_here("serve", "--anonymous-role", role, "--host", host, "--port", "0", folder=tmp_path)

    assert 1 == done.returncode
    assert f"{host} is not loopback" in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_serve_says_when_a_port_is_taken(tmp_path: Path) -> None:
    """The refusal names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_here("serve", "--port", str(port), folder=tmp_path)

    assert 1 == done.returncode
    assert f"Cannot listen on 127.0.0.1 port {port}" in done.stderr


@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("--port", "70000", "0<=x<=65535"),
        ("--max-body-bytes", "0", "x>=1"),
        ("--max-ahead-seconds", "-1", "0<=x<=1000000000"),
        ("--log-level", "loud", "'debug', 'info', 'warning', 'error', 'critical'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tmp_path: Path, flag: str, value: str, complaint: str) -> None:
    """The refusal names the flag and what it may be; nothing is made."""
    done = run_here("serve", flag, value, folder=tmp_path)

    assert 2 == done.returncode
    assert flag in done.stderr
    assert complaint in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_an_environment_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A file written as UTF-16 gives a sentence with its name instead of a traceback."""
    (tmp_path / ".env").write_bytes("SPROCKET_FACTORY_PORT=0\n".encode("utf-16"))

    done = run_program("serve", folder=tmp_path)

    assert 1 == done.returncode
    assert "The file .env is not in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("serve",), ("demo",), ("key", "add", "press 1", "--role", "viewer")])
def test_a_misspelt_setting_of_the_environment_keeps_a_command_from_starting(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would read it, and the default would be in force without a word; nothing is made."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, command, env={"SPROCKET_FACTORY_BACKUP_EVRY": "1h"})

    assert 1 == done.exit_code
    assert (
        "Error: There is no setting SPROCKET_FACTORY_BACKUP_EVRY. Did you mean SPROCKET_FACTORY_BACKUP_EVERY?"
        " docs/settings.md lists them all.\n"
    ) == done.stderr
    assert [] == list(tmp_path.iterdir())


def test_each_misspelt_setting_of_the_file_is_named(tmp_path: Path) -> None:
    """What stands in .env counts as what stands in the environment."""
    (tmp_path / ".env").write_text("SPROCKET_FACTORY_PORTT=0\nSPROCKET_FACTORY_VERSION=2\n")
    done = run_program("serve", folder=tmp_path)

    assert 1 == done.returncode
    assert ["PORTT", "VERSION"] == re.findall(r"There is no setting SPROCKET_FACTORY_(\w+)\.", done.stderr)


def test_help_is_given_whatever_is_misspelt() -> None:
    """It says how a setting is spelt."""
    done = CliRunner().invoke(cli, ["serve", "--help"], env={"SPROCKET_FACTORY_PORTT": "0"})

    assert 0 == done.exit_code
    assert "SPROCKET_FACTORY_PORT;" in done.stdout


def test_a_variable_of_a_flag_that_is_no_setting_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flag of a command has one, named after both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing.json").write_text("{}")
    done = CliRunner().invoke(cli, ["load", "nothing.json"], env={"SPROCKET_FACTORY_LOAD_ON_CONFLICT": "skip"})

    assert 0 == done.exit_code, done.output


def test_a_flag_outdoes_the_environment_and_the_environment_outdoes_the_file(tmp_path: Path) -> None:
    """Settings come from flags, SPROCKET_FACTORY_* and .env, in this order."""
    (tmp_path / ".env").write_text(
        "SPROCKET_FACTORY_PORT=0\nSPROCKET_FACTORY_DATABASE_URL=sqlite:///from_file.db\nSPROCKET_FACTORY_MUST_EXIST=1\n"
    )

    environment = {"SPROCKET_FACTORY_DATABASE_URL": "sqlite:///from_environment.db"}
    from_file = run_program("serve", folder=tmp_path)
    from_environment = run_here("serve", folder=tmp_path, **environment)
    from_flag = run_here("serve", "--database-url", "sqlite:///from_flag.db", folder=tmp_path, **environment)

    assert ["from_file", "from_environment", "from_flag"] == [
        re.findall(r"(\w+)\.db", done.stderr)[0] for done in (from_file, from_environment, from_flag)
    ]


def test_the_example_file_shows_every_setting() -> None:
    """.env.example names each setting with its default."""
    example = Path(__file__).parent.parent.joinpath(".env.example").read_text()

    for setting in fields(Settings):
        assert f"SPROCKET_FACTORY_{setting.name.upper()}=" in example


def test_sigterm_ends_in_order(start: Callable[..., Program], database_url: str) -> None:
    """The exit code is 0 and nothing is complained of."""
    server = start("serve", "--port", "0", "--database-url", database_url)
    server.wait_for_address()

    assert 0 == server.stop()
    assert '"level":"error"' not in server.output


def test_the_demo_shows_three_factories_two_days_and_a_catalogue(start: Callable[..., Program]) -> None:
    """Every address it prints answers, and the three requests it offers to paste work."""
    demo = start("demo", "--port", "0")
    address = demo.wait_for_address()
    records = httpx.get(f"{address}{BASE_PATH}/production", trust_env=False, verify=TLS).json()
    catalogue = httpx.get(f"{address}{BASE_PATH}/sprockets", trust_env=False, verify=TLS).json()
    assert 0 == demo.stop()

    assert {1, 2, 3} == {record["factory_id"] for record in records}
    assert 3 * (2 * 24 * 60 + 1) <= len(records)
    assert 90 < len(catalogue)
    assert 3 == demo.output.count("  curl ")
    body = re.search(r"-d '(\{.*\})'", demo.output)
    assert body is not None
    assert {"teeth", "pitch_diameter", "outside_diameter", "pitch"} == set(json.loads(body.group(1)))
