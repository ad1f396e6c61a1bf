"""The record of changes and the command line: what commands leave in it, and how it is written to a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness import Client, Service, a_sprocket
from sprocket_factory.commands import cli
from sprocket_factory.settings import Settings

TOLD = ("actor", "action", "entity", "key", "records", "request_id")

CSV_FILE = "factory_id,time,sprocket_production_actual,sprocket_production_goal\n1,1611194818,33,33\n1,1611194938,1,2\n"


@pytest.fixture
def sheffield(tmp_path: Path) -> Path:
    """Return a file with a factory, two records of it, and two sprockets."""
    columns = {
        "sprocket_production_actual": [32, 29],
        "sprocket_production_goal": [32, 30],
        "time": [1_611_194_818, 1_611_194_878],
    }
    file = tmp_path / "sheffield.json"
    factory = {"factory": {"name": "Sheffield", "chart_data": columns}}
    file.write_text(json.dumps({"factories": [factory], "sprockets": [a_sprocket(), a_sprocket(teeth=9)]}))
    return file


def run(url: str, *command: str) -> Result:
    """Run a command on a database. It has to succeed."""
    done = CliRunner().invoke(cli, [*command, "--database-url", url])
    assert 0 == done.exit_code, done.output
    return done


def changes(url: str) -> list[dict[str, Any]]:
    """Return the record of changes."""
    with Service(Settings(database_url=url), anonymous_role="admin") as service, Client(service.address) as admin:
        told: list[dict[str, Any]] = admin.get("/changes").json()
        return told


def told(url: str) -> list[tuple[Any, ...]]:
    """Return who did what, in short."""
    return [tuple(change[member] for member in TOLD) for change in changes(url)]


def test_load_tells_what_each_file_brought(database_url: str, sheffield: Path, tmp_path: Path) -> None:
    """A factory and a sprocket are things of their own; the records of a file are one import."""
    more = tmp_path / "more.csv"
    more.write_text(CSV_FILE)
    run(database_url, "load", str(sheffield))
    run(database_url, "load", str(more), "--on-conflict", "replace")

    assert [
        ("load", "create", "factory", "1", 1, ""),
        ("load", "create", "sprocket", "1", 1, ""),
        ("load", "create", "sprocket", "2", 1, ""),
        ("load", "import", "production", "1", 2, ""),
        ("load", "import", "production", "1", 2, ""),
    ] == told(database_url)


def test_a_file_that_is_loaded_again_leaves_nothing(database_url: str, sheffield: Path) -> None:
    """What is there already is not told of again."""
    for _ in range(2):
        run(database_url, "load", str(sheffield))

    assert 4 == len(changes(database_url))


def test_a_file_that_is_refused_leaves_nothing(database_url: str, sheffield: Path, tmp_path: Path) -> None:
    """Not even of the files before it, which were right."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(CSV_FILE)
    done = CliRunner().invoke(cli, ["load", str(sheffield), str(wrong), "--database-url", database_url])

    assert 1 == done.exit_code
    assert [] == changes(database_url)


def test_the_key_commands_are_told_of(database_url: str) -> None:
    """Keys that are made and revoked at the terminal stand in the record like others, without their secrets."""
    secret = run(database_url, "key", "add", "press 1", "--role", "viewer").stdout.strip()
    run(database_url, "key", "revoke", "1")
    made, revoked = changes(database_url)

    assert [("key add", "create", "key", "1", 1, ""), ("key revoke", "revoke", "key", "1", 1, "")] == told(database_url)
    assert made["after"] == revoked["before"]
    assert ("press 1", None, None) == (made["after"]["name"], made["before"], revoked["after"])
    assert secret not in json.dumps([made, revoked])


@pytest.mark.parametrize("form", ["csv", "ndjson", "json"])
def test_changes_are_exported_as_the_api_lists_them(
    database_url: str, sheffield: Path, tmp_path: Path, form: str
) -> None:
    """With its filters and in its formats: what is to be kept longer than the database keeps it."""
    run(database_url, "load", str(sheffield))
    file = tmp_path / f"changes.{form}"
    run(database_url, "export", "changes", "entity=sprocket", "--format", form, "--output", str(file))
    service = Service(Settings(database_url=database_url), anonymous_role="admin")
    with service, Client(service.address) as admin:
        answer = admin.get("/changes", params={"entity": "sprocket", "format": form})

    assert 2 == answer.text.count("sprocket,") + answer.text.count('"sprocket"')
    assert answer.content == file.read_bytes()


def test_what_was_just_committed_is_exported(database_url: str, tmp_path: Path) -> None:
    """A server that has written it need not have put it in order yet."""
    file = tmp_path / "changes.ndjson"
    with Service(Settings(database_url=database_url)) as service, Client(service.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket())
        run(database_url, "export", "changes", "--format", "ndjson", "--output", str(file))

    assert 1 == len(file.read_text().splitlines())
