"""`sprocket-factory key`: keys given out, listed and revoked without a running server."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import Client, Service, run_program
from keyholders import caller, change_key
from sprocket_factory.commands import cli
from sprocket_factory.entities.instant import DAY, SECOND, now, to_datetime
from sprocket_factory.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, where the database is made if no other is named."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def key(*arguments: str) -> Result:
    """Run `sprocket-factory key` with these arguments, in this process: the program takes half a second to start."""
    return CliRunner().invoke(cli, ["key", *arguments], prog_name="sprocket-factory", env={"COLUMNS": "200"})


def settings_here() -> Settings:
    """Return the settings of a service on the database that the command uses."""
    return Settings(database_url="sqlite:///sprocket-factory.db")


def test_key_add_makes_the_database_and_shows_the_key_once(folder: Path) -> None:
    """What a script catches is the secret alone; the words around it go to standard error."""
    done = run_program("key", "add", "press line", "--role", "operator", folder=folder)

    assert 0 == done.returncode, done.stderr
    assert "Made a new database" in done.stderr
    assert "Key 1 for press line, operator" in done.stderr
    assert ["sfk_"] == [line[:4] for line in done.stdout.splitlines()]
    with Service(settings_here(), anonymous_role="none") as service, caller(service, done.stdout.strip()) as holder:
        assert ("press line", "operator") == tuple(holder.get("/me").json().values())[:2]


def test_a_key_that_is_added_beside_a_running_server_works_at_once() -> None:
    """The server needs no word of it."""
    with Service(settings_here(), anonymous_role="none") as service:
        added = key("add", "press line", "--role", "viewer")
        with caller(service, added.stdout.strip()) as holder:
            answer = holder.get("/me")

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    ("period", "length"), [("12h", DAY // 2), ("90d", 90 * DAY), ("4w", 28 * DAY), ("1h", DAY // 24)]
)
def test_a_key_may_be_added_for_a_time(period: str, length: int) -> None:
    """--expires counts from now, in hours, days or weeks."""
    began = now() // SECOND * SECOND
    added = key("add", "press line", "--role", "viewer", "--expires", period)
    ended = now()
    with Service(settings_here(), anonymous_role="none") as service, caller(service, added.stdout.strip()) as holder:
        expires_at = holder.get("/me").json()["expires_at"]

    assert to_datetime(began + length).isoformat() <= expires_at.replace("Z", "+00:00")
    assert expires_at.replace("Z", "+00:00") <= to_datetime(ended + length).isoformat()


@pytest.mark.parametrize(
    "period", ["", "0d", "-1d", "90", "1y", "90 d", "1.5h", "90d12h", "soon", "100000d", "\u0663d"]
)
def test_what_is_no_period_is_refused(folder: Path, period: str) -> None:
    """The refusal shows what may be written, and nothing is made."""
    done = key("add", "press line", "--role", "viewer", "--expires", period)

    assert 2 == done.exit_code
    assert "Write 12h, 90d or 4w." in done.stderr
    assert [] == list(folder.iterdir())


def test_a_period_that_is_too_long_is_refused() -> None:
    """It ends with a sentence, and no key is made."""
    done = key("add", "press line", "--role", "viewer", "--expires", "99999w")

    assert 1 == done.exit_code
    assert "is outside" in done.stderr
    assert "press line" not in key("list").stdout


def test_a_key_is_limited_on_the_command_line() -> None:
    """--factory may be given again."""
    with Service(settings_here()) as service, Client(service.address) as engineer:
        for name in ("Sheffield", "Rotherham"):
            engineer.post("/factories", json={"name": name})
        added = key("add", "press line", "--role", "operator", "--factory", "2", "--factory", "1")
        with caller(service, added.stdout.strip()) as holder:
            factory_ids = holder.get("/me").json()["factory_ids"]

    assert [1, 2] == factory_ids
    assert "1, 2" in key("list").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["press line", "--role", "viewer", "--factory", "9"], 1, "No factory has the id 9."),
        (["press line", "--role", "viewer", "--factory", "0"], 2, "0 is not in the range"),
        (["press line", "--role", "viewer", "--factory", str(2**63)], 2, f"{2**63} is not in the range"),
        (["press line", "--role", "admin", "--factory", "1"], 1, "cannot be limited to factories."),
        (["press\nline", "--role", "viewer"], 1, "no control characters"),
        (["", "--role", "viewer"], 1, "has 1 to 100 characters"),
        (["press line", "--role", "boss"], 2, "'viewer', 'operator', 'engineer', 'admin'"),
        (["press line"], 2, "--role"),
        (["--role", "viewer"], 2, "NAME"),
    ],
)
def test_a_key_that_breaks_a_rule_is_not_added(arguments: list[str], code: int, complaint: str) -> None:
    """The refusal is a sentence, and no key is made."""
    key("add", "first", "--role", "admin")
    done = key("add", *arguments)

    assert code == done.exit_code
    assert complaint in done.stderr
    assert "" == done.stdout
    assert "press" not in key("list").stdout


def test_keys_are_listed_without_their_secrets() -> None:
    """Each with its id, name, role, limits and times."""
    secrets = [key("add", f"the {role}", "--role", role).stdout.strip() for role in ("viewer", "admin")]
    listed = key("list").stdout

    assert all(word in listed for word in ("the viewer", "the admin", "Created", "Expires", "Last used"))
    assert [] == [secret for secret in secrets if secret in listed or secret[4:14] in listed]


def test_what_is_listed_cannot_write_to_the_terminal() -> None:
    """A name is shown as it is, whatever a program for terminals would make of its brackets."""
    key("add", "[bold]the viewer[/bold]", "--role", "viewer")
    key("add", "[/]", "--role", "viewer")
    done = key("list")

    assert 0 == done.exit_code
    assert "[bold]the viewer[/bold]" in done.stdout
    assert "[/]" in done.stdout


def test_a_key_is_revoked_on_the_command_line() -> None:
    """It is gone from the list, and the others stay."""
    for name in ("first", "second"):
        key("add", name, "--role", "viewer")
    done = key("revoke", "1")
    listed = key("list").stdout

    assert (0, "Key 1 is revoked.\n") == (done.exit_code, done.stderr)
    assert "first" not in listed
    assert "second" in listed


@pytest.mark.parametrize(
    ("key_id", "code", "complaint"),
    [
        ("2", 1, "No key has the id 2."),
        (str(2**63 - 1), 1, f"No key has the id {2**63 - 1}."),
        ("0", 2, "0 is not in the range"),
        ("-1", 2, "-1 is not in the range"),
        (str(2**63), 2, f"{2**63} is not in the range"),
        ("first", 2, "'first' is not a valid integer"),
    ],
)
def test_a_key_that_is_not_there_is_not_revoked(key_id: str, code: int, complaint: str) -> None:
    """The refusal is a sentence, and the others stay."""
    key("add", "first", "--role", "viewer")
    done = key("revoke", "--", key_id)

    assert code == done.exit_code
    assert complaint in done.stderr
    assert "first" in key("list").stdout


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "1"]])
def test_only_adding_makes_a_database(folder: Path, arguments: list[str]) -> None:
    """A slip in an address shows at once."""
    done = key(*arguments)

    assert 1 == done.exit_code
    assert "There is no database at" in done.stderr
    assert [] == list(folder.iterdir())


def test_the_list_shows_what_expired() -> None:
    """A key that is no longer one is still there to be seen and removed."""
    key("add", "press line", "--role", "viewer", "--expires", "1h")
    with Service(settings_here()) as service:
        change_key(service, 1, "expires_at", 1_611_194_818_000_000)

    assert "2021-01-21 02:06Z" in key("list").stdout
