"""`sprocket-factory copy`: everything from one database to another, on the same engine or the other one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness import Client, NewDatabase, Program, Service, a_sprocket
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.entities.copying import restore_production
from sprocket_factory.settings import Settings

NewTarget = Callable[[], str]

RECORDS = 3000


@pytest.fixture(params=["sqlite", "postgresql"])
def new_target(request: pytest.FixtureRequest, tmp_path: Path) -> NewTarget:
    """Return what gives the address of an empty database to copy into, of each engine."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / 'target.db'}"
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    return server.new_database


def copy(source: str, target: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["copy", "--from", source, "--to", target])


def fill(url: str) -> None:
    """Store two sprockets and two factories, of each the last one removed again, and records."""
    with Service(Settings(database_url=url)) as service, Client(service.address) as engineer:
        for _ in range(3):
            engineer.post("/sprockets", json=a_sprocket(pitch=0.1 + 0.2))
        engineer.delete("/sprockets/3")
        for name in ("Köln", "Łódź", "gone"):
            engineer.post("/factories", json={"name": name, "time_zone": "Europe/Berlin"})
        engineer.delete("/factories/3")
        rows = [f"{number % 2 + 1},{1_600_000_000 + number}.5,{number},7" for number in range(RECORDS)]
        header = "factory_id,time,sprocket_production_actual,sprocket_production_goal"
        body = "\n".join([header, *rows]).encode()
        assert (
            RECORDS
            == engineer.post("/production", content=body, headers={"Content-Type": "text/csv"}).json()["created"]
        )
        engineer.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": "kept"})


def everything(url: str) -> list[Any]:
    """Return all that the API lists."""
    with Service(Settings(database_url=url)) as service, Client(service.address) as viewer:
        return [viewer.get(path).json() for path in ("/sprockets", "/factories", "/production")]


def test_a_copy_is_the_same_and_goes_on_as_the_original(new_database: NewDatabase, new_target: NewTarget) -> None:
    """Whatever the engines, the API lists the same; ids go on behind the last one; repetitions are still known."""
    source, target = new_database(), new_target()
    fill(source)
    copied = copy(source, target)
    before = everything(source)
    with Service(Settings(database_url=target)) as service, Client(service.address) as engineer:
        after = [engineer.get(path).json() for path in ("/sprockets", "/factories", "/production")]
        replayed = engineer.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": "kept"})
        new = engineer.post("/factories", json={"name": "gone"})

    assert (0, before) == (copied.exit_code, after)
    assert f"Copied and compared: {RECORDS:,} records. Nothing differs." in copied.stdout
    assert "true" == replayed.headers["Idempotent-Replayed"]
    assert 4 == new.json()["id"]


def test_a_copy_may_be_made_again(new_database: NewDatabase, new_target: NewTarget) -> None:
    """The second time there is nothing left to do, and nothing is doubled."""
    source, target = new_database(), new_target()
    fill(source)
    first, second = copy(source, target), copy(source, target)

    assert [0, 0] == [first.exit_code, second.exit_code]
    assert everything(source) == everything(target)


def test_a_copy_that_was_broken_off_goes_on(
    new_database: NewDatabase, new_target: NewTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored stays; what is missing is copied by the next start."""
    source, target = new_database(), new_target()
    fill(source)
    with monkeypatch.context() as patch:
        command = sys.modules["sprocket_factory.commands.copy"]  # the name itself is that of the command
        patch.setattr(command, "BATCH_ROWS", 500)
        stored: list[int] = []

        async def give_up(tx: Any, rows: list[Any]) -> None:
            if len(stored) == 2:
                raise RuntimeError("broken off")
            stored.append(len(rows))
            await restore_production(tx, rows)

        patch.setattr(command, "restore_production", give_up)
        broken_off = copy(source, target)
    resumed = copy(source, target)

    assert 0 != broken_off.exit_code
    assert 0 == resumed.exit_code
    assert everything(source) == everything(target)


def test_nothing_is_copied_into_what_holds_something_else(new_database: NewDatabase, new_target: NewTarget) -> None:
    """The target stays as it is, and the sentence says why."""
    source, target = new_database(), new_target()
    fill(source)
    with Service(Settings(database_url=target)) as service, Client(service.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket(teeth=99))
    before = everything(target)
    copied = copy(source, target)

    assert 1 == copied.exit_code
    assert "holds other sprockets or factories" in copied.stderr
    assert before == everything(target)


def test_a_difference_is_found(new_database: NewDatabase, new_target: NewTarget) -> None:
    """A record that differs on the other side ends the copy with an error that names its factory."""
    source, target = new_database(), new_target()
    fill(source)
    copy(source, target)
    with Service(Settings(database_url=target)) as service, Client(service.address) as engineer:
        (record, *_) = engineer.get("/production/2?limit=1").json()
        path = f"/production/2/{record['time']}"
        engineer.patch(path, json={"sprocket_production_goal": 8})
    copied = copy(source, target)

    assert 1 == copied.exit_code
    assert "The copy differs in the production of factory 2." in copied.stderr


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path, new_target: NewTarget) -> None:
    """A slip in the address makes no empty database to copy."""
    copied = copy(f"sqlite:///{tmp_path / 'nothing.db'}", new_target())

    assert 1 == copied.exit_code
    assert not (tmp_path / "nothing.db").exists()


def test_the_program_copies(start: Callable[..., Program], new_database: NewDatabase, new_target: NewTarget) -> None:
    """As a process of its own it ends with 0 and says what it did."""
    source = new_database()
    fill(source)
    program = start("copy", "--from", source, "--to", new_target())

    assert 0 == program.process.wait(60)
