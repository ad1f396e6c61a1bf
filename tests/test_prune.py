"""`sprocket-factory prune`: old changes are let go of, and nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from faults import everything
from harness import Client, Service, a_sprocket, run_program
from sprocket_factory.commands import cli
from sprocket_factory.database import Transaction
from sprocket_factory.entities import change_feed
from sprocket_factory.entities.change_feed import prune_changes
from sprocket_factory.entities.instant import DAY, now
from sprocket_factory.settings import Settings

OLD = 100 * DAY

SPAN: dict[str, Any] = {"factory_id": 1, "time__gte": "2021-01-01T00:00:00Z", "time__lt": "2022-01-01T00:00:00Z"}


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    """Run a service in which everybody is an administrator."""
    with Service(Settings(database_url=database_url), anonymous_role="admin") as running:
        yield running


@pytest.fixture
def admin(service: Service) -> Iterator[Client]:
    """Return somebody who has loaded records, replaced them, and removed them: changes 2, 3 and 4 of 6."""
    with Client(service.address) as client:
        client.post("/factories", json={"name": "Sheffield"})
        for actual in (1, 2):
            client.post("/production", json=rows(actual), params={"on_conflict": "replace"})
        client.delete("/production", params=SPAN)
        client.post("/sprockets", json=a_sprocket())
        client.post("/production", json=rows(3))
        yield client


def rows(actual: int) -> list[dict[str, Any]]:
    """Return ten records."""
    return [
        {
            "factory_id": 1,
            "time": f"2021-01-21T02:0{minute}:00Z",
            "sprocket_production_actual": actual,
            "sprocket_production_goal": 9,
        }
        for minute in range(10)
    ]


def prune(service: Service, age: str = "90d") -> Result:
    """Run the command."""
    return CliRunner().invoke(
        cli, ["prune", "--changes-older-than", age, "--database-url", service.settings.database_url]
    )


async def grow_old(tx: Transaction, first: int, last: int) -> None:
    """Let these changes have been made long ago."""
    await tx.run(
        "UPDATE changes SET at = :at WHERE id BETWEEN :first AND :last", at=now() - OLD, first=first, last=last
    )


def let_grow_old(service: Service, first: int, last: int) -> None:
    """Let these changes have been made long ago."""
    service.run(service.database.order_changes)
    service.run(service.database.write, grow_old, first, last, by="test")


def positions(client: Client) -> list[int]:
    """Return the positions of all changes."""
    return [change["id"] for change in client.get("/changes").json()]


def count_old_rows(service: Service) -> int:
    """Return how many old records are kept."""
    row = service.run(service.database.one, "SELECT count(*) FROM change_rows")
    return int(row[0])


def test_old_changes_go_with_their_old_rows(service: Service, admin: Client) -> None:
    """What is younger stays with all that belongs to it, and what is stored now stays as it is."""
    let_grow_old(service, 1, 3)
    before, kept = everything(admin), admin.get("/changes?id__gt=3").json()
    done = prune(service)

    assert (0, "Removed 3 changes, and 10 old records of imports and removals.") == (
        done.exit_code,
        done.stdout.strip(),
    )
    assert (kept, before) == (admin.get("/changes").json(), everything(admin))
    assert (10, 404) == (len(admin.get("/changes/4/rows").json()), admin.get("/changes/3/rows").status_code)
    assert 10 == count_old_rows(service)


def test_what_lies_behind_a_change_that_is_kept_is_kept(service: Service, admin: Client) -> None:
    """The clocks of servers differ, but the record has no holes: whoever goes on in it misses nothing."""
    let_grow_old(service, 1, 2)
    let_grow_old(service, 5, 6)
    prune(service)

    assert [3, 4, 5, 6] == positions(admin)


def test_where_nothing_is_old_nothing_goes(service: Service, admin: Client) -> None:
    """The shortest time that may be given is a week."""
    done = prune(service, "1w")

    assert (0, "Removed 0 changes, and 0 old records of imports and removals.") == (done.exit_code, done.stdout.strip())
    assert [1, 2, 3, 4, 5, 6] == positions(admin)


def test_positions_go_on_where_everything_has_gone(service: Service, admin: Client) -> None:
    """None is given again, so nobody takes a new change for one that he knows."""
    let_grow_old(service, 1, 6)
    prune(service)
    admin.delete("/sprockets/1")

    assert [7] == positions(admin)
    assert 0 == count_old_rows(service)


@pytest.mark.parametrize(("entries", "rows_at_once"), [(1, 1), (2, 3), (4, 10), (1000, 7)])
def test_much_is_removed_a_little_at_a_time(
    service: Service, admin: Client, monkeypatch: pytest.MonkeyPatch, entries: int, rows_at_once: int
) -> None:
    """However little that is, all that is old goes in the end, and nothing else."""
    monkeypatch.setattr(change_feed, "MAX_PRUNED", entries)
    monkeypatch.setattr(change_feed, "MAX_ROWS_PRUNED", rows_at_once)
    let_grow_old(service, 1, 4)
    done = prune(service)

    assert "Removed 4 changes, and 20 old records of imports and removals." == done.stdout.strip()
    assert [5, 6] == positions(admin)


def test_what_was_broken_off_is_ended_by_the_next_run(
    service: Service, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change goes after its old rows, so that none are left that nobody finds any more."""
    monkeypatch.setattr(change_feed, "MAX_ROWS_PRUNED", 4)
    let_grow_old(service, 1, 4)
    with monkeypatch.context() as patch:
        command = sys.modules["sprocket_factory.commands.prune"]  # the name itself is that of the command
        turns = iter([prune_changes] * 2)

        async def give_up(tx: Transaction, outdated: int) -> change_feed.Pruned:
            return await next(turns)(tx, outdated)

        patch.setattr(command, "prune_changes", give_up)
        broken_off = prune(service)
    left = count_old_rows(service)
    ended = prune(service)

    assert (1, 0) == (broken_off.exit_code, ended.exit_code)
    assert (12, 0) == (left, count_old_rows(service))
    assert [5, 6] == positions(admin)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--changes-older-than", "6d"], "Changes are kept for 7 days at least"),
        (["--changes-older-than", "0d"], "'0d' is no period. Write 30d or 12w."),
        (["--changes-older-than", "90"], "'90' is no period"),
        (["--changes-older-than", "-90d"], "'-90d' is no period"),
        (["--changes-older-than", "1.5w"], "'1.5w' is no period"),
        (["--changes-older-than", "\uff13\uff10d"], "is no period"),
        (["--changes-older-than", "90 days"], "'90 days' is no period"),
        (["--changes-older-than", ""], "'' is no period"),
        ([], "Missing option '--changes-older-than'"),
    ],
)
def test_a_time_that_is_none_or_too_short_is_refused(
    service: Service, admin: Client, arguments: list[str], sentence: str
) -> None:
    """The sentence says what may be written, and nothing is removed."""
    let_grow_old(service, 1, 6)
    done = CliRunner().invoke(cli, ["prune", *arguments, "--database-url", service.settings.database_url])

    assert done.exit_code in {1, 2}
    assert sentence in done.stderr
    assert [1, 2, 3, 4, 5, 6] == positions(admin)


def test_outdated_answers_go_as_well(service: Service, admin: Client) -> None:
    """What is kept for repetitions is kept for a day."""
    for key in ("old", "new"):
        admin.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": key})

    async def let_time_pass(tx: Transaction) -> None:
        await tx.run("UPDATE replays SET at = :at WHERE key = 'old'", at=now() - 2 * DAY)

    service.run(service.database.write, let_time_pass, by="test")
    prune(service)

    assert [("new",)] == [tuple(row) for row in service.run(service.database.all, "SELECT key FROM replays")]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A slip in the address makes no empty database to prune."""
    done = run_program("prune", "--changes-older-than", "90d", "--database-url", "sqlite:///no.db", folder=tmp_path)

    assert 1 == done.returncode
    assert not (tmp_path / "no.db").exists()


def test_the_program_prunes_beside_a_running_server(service: Service, admin: Client, tmp_path: Path) -> None:
    """As a process of its own, while the server goes on writing."""
    let_grow_old(service, 1, 4)
    url = service.settings.database_url
    done = run_program("prune", "--changes-older-than", "90d", "--database-url", url, folder=tmp_path)
    admin.delete("/sprockets/1")

    assert 0 == done.returncode, done.stderr
    assert [5, 6, 7] == positions(admin)
