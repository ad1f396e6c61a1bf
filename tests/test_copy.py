"""`sprocket-factory copy`: everything from one database to another, on the same engine or the other one."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from harness import Client, NewDatabase, Program, Service, a_sprocket
from keyholders import caller, change_key, make_key
from postgresql_server import GUARDED, OWNER, PASSWORD, PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.database import Database, Row, Transaction, open_database
from sprocket_factory.entities.copying import TABLES, Table, restore
from sprocket_factory.settings import Settings

NewTarget = Callable[[], str]

Damage = Callable[[list[Row]], list[Row]]
"""What becomes of the rows of a table on their way."""

ACTUAL = "sprocket_production_actual"

RECORDS = 3000

LISTS = ("/sprockets", "/factories", "/production", "/keys", "/changes")

COMMAND = sys.modules["sprocket_factory.commands.copy"]  # the name itself is that of the command


@pytest.fixture(params=["sqlite", "postgresql"])
def new_target(request: pytest.FixtureRequest, tmp_path: Path) -> NewTarget:
    """Return what gives the address of an empty database to copy into, of each engine."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / 'target.db'}"
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    return server.new_database


def copy(source: str, target: str, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["copy", "--from", source, "--to", target, *options])


def serve(url: str) -> Service:
    """Return a service on this database, which lets everybody do everything."""
    return Service(Settings(database_url=url), anonymous_role="admin")


class Source(NamedTuple):
    """A database with everything in it, which the tests only read."""

    url: str
    secret: str
    """That of a key for an operator of the second factory."""
    lists: list[Any]
    """What the API lists."""


@pytest.fixture(scope="module")
def source(new_database: NewDatabase) -> Source:
    """Return a database with two of everything that has an id, the last one removed again, and records."""
    url = new_database()
    return Source(url, fill(url), everything(url))


def fill(url: str) -> str:
    """Store everything and return the secret of the operator's key."""
    with serve(url) as service, Client(service.address) as admin:
        for _ in range(3):
            admin.post("/sprockets", json=a_sprocket(pitch=0.1 + 0.2))
        admin.delete("/sprockets/3")
        for name in ("Köln", "Łódź", "gone"):
            admin.post("/factories", json={"name": name, "time_zone": "Europe/Berlin"})
        admin.delete("/factories/3")
        rows = [f"{number % 2 + 1},{1_600_000_000 + number}.5,{number},7" for number in range(RECORDS)]
        header = "factory_id,time,sprocket_production_actual,sprocket_production_goal"
        body = "\n".join([header, *rows]).encode()
        created = admin.post("/production", content=body, headers={"Content-Type": "text/csv"}).json()["created"]
        assert RECORDS == created
        for actual in (1, 2):  # which are stored, written over, and removed again
            new = [{"factory_id": 1, "time": 1_500_000_000, "sprocket_production_goal": 7} | {ACTUAL: actual}]
            admin.post("/production", json=new, params={"on_conflict": "replace"})
        admin.delete("/production", params={"factory_id": 1, "time__gte": 1_500_000_000, "time__lt": 1_500_000_001})
        admin.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": "kept"})
        key = make_key(service, "operator", 2)
        change_key(service, key.id, "expires_at", 4_000_000_000_000_000)
        change_key(service, key.id, "last_used_at", 1_600_000_000_000_001)
        make_key(service, "admin")
        make_key(service, "viewer")
        admin.delete("/keys/3")
    return key.secret


def everything(url: str) -> list[Any]:
    """Return all that the API lists."""
    with serve(url) as service, Client(service.address) as viewer:
        return [viewer.get(path).json() for path in LISTS]


def test_a_copy_is_the_same_and_goes_on_as_the_original(source: Source, new_target: NewTarget) -> None:
    """Whatever the engines, the API lists the same; ids go on behind the last one; repetitions are still known."""
    target = new_target()
    copied = copy(source.url, target)
    with serve(target) as service, Client(service.address) as admin:
        after = [admin.get(path).json() for path in LISTS]
        replayed = admin.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": "kept"})
        new = [
            admin.post("/factories", json={"name": "gone"}).json()["id"],
            admin.post("/keys", json={"name": "new", "role": "viewer"}).json()["id"],
        ]

    assert (0, source.lists) == (copied.exit_code, after)
    counts = f"3 sprockets, 2 factories, 2 keys, {RECORDS:,} production, {len(source.lists[-1])} changes, 2 change_rows"
    assert f"Copied and compared: {counts}, 1 replays." in copied.stdout
    assert "true" == replayed.headers["Idempotent-Replayed"]
    assert [4, 4] == new


def test_the_record_of_changes_goes_on_in_the_copy(source: Source, new_target: NewTarget) -> None:
    """Old rows are found under their changes, and whoever follows the changes goes on where he was."""
    target = new_target()
    copy(source.url, target)
    changes = source.lists[-1]
    many = [change["id"] for change in changes if change["spans"]][1:]
    with serve(target) as service, Client(service.address) as admin:
        old = [[row[ACTUAL] for row in admin.get(f"/changes/{position}/rows").json()] for position in many]
        admin.delete("/sprockets/1")
        behind = admin.get("/changes", params={"id__gt": changes[-1]["id"]}).json()

    assert [[], [1], [2]] == old
    assert [(changes[-1]["id"] + 1, "remove", "1")] == [(one["id"], one["action"], one["key"]) for one in behind]


def test_a_key_opens_the_copy(source: Source, new_target: NewTarget) -> None:
    """Whoever had a key has it still, with its role, its factories and its end."""
    target = new_target()
    copy(source.url, target)
    answers = []
    for url in (source.url, target):
        with Service(Settings(database_url=url)) as service, caller(service, source.secret) as operator:
            answers.append((operator.get("/me").json(), operator.delete("/production/1/1600000000").status_code))

    assert [answers[0]] * 2 == answers
    assert (["operator", [2]], 403) == ([answers[1][0][name] for name in ("role", "factory_ids")], answers[1][1])


def test_a_copy_may_be_made_again(source: Source, new_target: NewTarget) -> None:
    """The second time there is nothing left to do, and nothing is doubled."""
    target = new_target()
    first, second = copy(source.url, target), copy(source.url, target)

    assert [0, 0] == [first.exit_code, second.exit_code]
    assert source.lists == everything(target)


def test_a_copy_that_was_broken_off_goes_on(
    source: Source, new_target: NewTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored stays; what is missing is copied by the next start."""
    target = new_target()
    stored: list[str] = []

    async def give_up(tx: Transaction, table: Table, rows: Sequence[Row]) -> None:
        if stored.count("production") == 2:
            raise RuntimeError("broken off")
        await restore(tx, table, rows)
        stored.append(table.name)

    with monkeypatch.context() as patch:
        patch.setattr(COMMAND, "BATCH_ROWS", 500)
        patch.setattr(COMMAND, "restore", give_up)
        broken_off = copy(source.url, target)
    resumed = copy(source.url, target)

    assert 0 != broken_off.exit_code
    assert (0, "") == (resumed.exit_code, resumed.stderr)
    assert source.lists == everything(target)


@pytest.mark.parametrize("table", ["sprockets", "keys"])
def test_nothing_is_copied_into_what_holds_something_else(source: Source, new_target: NewTarget, table: str) -> None:
    """The target stays as it is, and the sentence says why."""
    target = new_target()
    with serve(target) as service, Client(service.address) as admin:
        if table == "keys":
            make_key(service, "admin")  # as the first start makes one
        else:
            admin.post("/sprockets", json=a_sprocket(teeth=99))
    before = everything(target)
    copied = copy(source.url, target)

    assert 1 == copied.exit_code
    assert f"holds other {table} than" in copied.stderr
    assert before == everything(target)


def test_a_copy_does_not_go_on_where_something_was_changed(source: Source, new_target: NewTarget) -> None:
    """A record that differs on the other side is named, and nothing is written."""
    target = new_target()
    copy(source.url, target)
    with serve(target) as service, Client(service.address) as engineer:
        (record, *_) = engineer.get("/production/2?limit=1").json()
        engineer.patch(f"/production/2/{record['time']}", json={"sprocket_production_goal": 8})
    copied = copy(source.url, target)

    assert 1 == copied.exit_code
    assert (
        f"holds other production than {shown(source.url)} (production: factory_id 2, time {record['time']})"
        in copied.stderr
    )


def shown(url: str) -> str:
    """Return an address as it is shown."""
    return url.removeprefix("sqlite:///")


def one_more(rows: list[Row]) -> list[Row]:
    """Let one record have made one more."""
    factory_id, time, actual, goal = rows[7]
    return [*rows[:7], (factory_id, time, actual + 1, goal), *rows[8:]]


def one_more_and_one_less(rows: list[Row]) -> list[Row]:
    """Let one record have made one more, and another of the same factory one less: no sum tells."""
    return [*one_more(rows[:10]), (*rows[10][:2], rows[10][2] - 1, rows[10][3]), *rows[11:]]


def swapped(rows: list[Row]) -> list[Row]:
    """Let two records have each other's counts."""
    return [(*rows[0][:2], *rows[1][2:]), (*rows[1][:2], *rows[0][2:]), *rows[2:]]


def lost(rows: list[Row]) -> list[Row]:
    """Let the last one be lost."""
    return rows[:-1]


def promoted(rows: list[Row]) -> list[Row]:
    """Let an operator be an engineer."""
    role = next(table for table in TABLES if table.name == "keys").columns.index("role")
    limits = role + 1
    return [(*rows[0][:role], "engineer", None, *rows[0][limits + 1 :]), *rows[1:]]


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("production", one_more),
        ("production", one_more_and_one_less),
        ("production", swapped),
        ("production", lost),
        ("keys", promoted),
        ("replays", lost),
    ],
)
def test_whatever_arrives_otherwise_is_found(
    source: Source, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch, table: str, damage: Damage
) -> None:
    """At the end every row of both is compared; the first that differs ends the copy with an error that names it."""
    target = postgresql.new_database()

    async def restore_damaged(tx: Transaction, to: Table, rows: Sequence[Row]) -> None:
        await restore(tx, to, damage(list(rows)) if to.name == table else rows)

    monkeypatch.setattr(COMMAND, "restore", restore_damaged)
    copied = copy(source.url, target)

    assert 1 == copied.exit_code
    assert f"The copy differs in {table}: " in copied.stderr


async def columns_of(database: Database, engine: str) -> dict[str, set[str]]:
    """Return the columns of every table that anything is kept in."""
    if engine == "postgresql":
        rows = await database.all(
            "SELECT CAST(table_name AS text), CAST(column_name AS text) FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name NOT IN ('migrations', 'outcomes', 'new_changes')"
        )
    else:
        rows = await database.all(
            "SELECT tables.name, columns.name FROM sqlite_schema AS tables"
            " JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
            " AND tables.name NOT IN ('migrations', 'sqlite_sequence')"
        )
    columns: dict[str, set[str]] = {}
    for table, column in rows:
        columns.setdefault(table, set()).add(column)
    return columns


async def test_no_table_is_forgotten(database_url: str, engine: str) -> None:
    """A table, or a column, that is added one day and not copied would be lost on the way, and nobody would know.

    Sums are not copied: they are made anew. Nor is who has signed in: a cookie is for one service.
    """
    database = await open_database(database_url)
    kept = await columns_of(database, engine)
    await database.close()

    left_out = {"production_quarters", "production_days", "rollups", "sessions"}

    assert left_out <= kept.keys()
    assert {table.name: set(table.columns) for table in TABLES} == {
        name: columns for name, columns in kept.items() if name not in left_out
    }


def test_passwords_may_stand_in_files(postgresql: PostgreSQLServer, tmp_path: Path) -> None:
    """Nobody who lists the processes reads them, and each side has its own."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    here, there = (postgresql.new_database().replace(f"{OWNER}@", f"{GUARDED}@") for _ in range(2))
    refused = copy(here, there, "--from-password-file", str(secret))
    copied = copy(here, there, "--from-password-file", str(secret), "--to-password-file", str(secret))

    assert [1, 0] == [refused.exit_code, copied.exit_code]
    assert there in refused.stderr


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path, new_target: NewTarget) -> None:
    """A slip in the address makes no empty database to copy."""
    copied = copy(f"sqlite:///{tmp_path / 'nothing.db'}", new_target())

    assert 1 == copied.exit_code
    assert not (tmp_path / "nothing.db").exists()


def test_the_program_copies(start: Callable[..., Program], source: Source, new_target: NewTarget) -> None:
    """As a process of its own it ends with 0 and says what it did."""
    program = start("copy", "--from", source.url, "--to", new_target())

    assert 0 == program.process.wait(60)
    assert "Nothing differs." in program.output
