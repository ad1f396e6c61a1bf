"""/health/live and /health/ready: what those who watch over the service are told, and when."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from full_disks import Disk
from harness import TLS, Client, Service, a_sprocket
from keyholders import WRONG_KEY
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.endpoints import status
from sprocket_factory.settings import Settings

READY, NOT_READY = (200, {"status": "ready"}), (503, "/problems/unavailable")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was found of the database not stand for a second, as it else would."""
    monkeypatch.setattr(status, "KEPT_SECONDS", 0.0)


@pytest.fixture
def own(database_url: str) -> Iterator[Service]:
    """Run a service for one test, which does to it what no other could go on with."""
    with Service(Settings(database_url=database_url)) as service:
        yield service


@pytest.fixture
def disk(own: Service, engine: str, request: pytest.FixtureRequest) -> Disk:
    """Return what its database lies on."""
    return Disk(own, request.getfixturevalue("postgresql") if engine == "postgresql" else None)


def ask(address: str, path: str) -> httpx.Response:
    """Return what the service says of its health."""
    return httpx.get(f"{address}/health/{path}", trust_env=False, verify=TLS, timeout=20)


def readiness(address: str) -> tuple[int, object]:
    """Return status and gist of what the service says of its readiness."""
    answer = ask(address, "ready")
    return answer.status_code, answer.json() if answer.status_code == 200 else answer.json()["type"]


def many_records(count: int) -> str:
    """Return records that need more room than the pages of a small database have left."""
    rows = (f"1,2021-01-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00Z,31,32" for n in range(count))
    return "\n".join(["factory_id,time,sprocket_production_actual,sprocket_production_goal", *rows])


@pytest.mark.parametrize("path", ["live", "ready"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {WRONG_KEY}"}], ids=["nobody", "wrong key"])
def test_anybody_may_ask(viewer: Client, path: str, headers: dict[str, str]) -> None:
    """Whoever watches over the service needs no key, and a wrong one does not matter."""
    answer = viewer.get(f"{viewer.address}/health/{path}", headers=headers)

    assert 200 == answer.status_code
    assert "no-store" == answer.headers["Cache-Control"]
    assert answer.content == viewer.get(f"{viewer.address}/health/{path}").content
    assert b"" == viewer.head(f"{viewer.address}/health/{path}").content


@pytest.mark.usefixtures("forgetful")
def test_fault_03_a_full_disk_is_not_ready_until_there_is_room(own: Service, disk: Disk) -> None:
    """507 for what does not fit, of which nothing is stored; reading goes on; it recovers without anybody's doing."""
    csv = {"Content-Type": "text/csv"}
    with Client(own.address) as engineer:
        engineer.post("/factories", json={"name": "Sheffield"}).raise_for_status()
        before = readiness(own.address)
        disk.fill()
        refused = engineer.post("/production", content=many_records(9000), headers=csv)
        full = readiness(own.address)
        read = engineer.get("/production")
        disk.make_room()
        after = readiness(own.address)
        stored = engineer.post("/production", content=many_records(9000), headers=csv)

    assert (507, "/problems/storage-full") == (refused.status_code, refused.json()["type"])
    assert [READY, NOT_READY, READY] == [before, full, after]
    assert (200, []) == (read.status_code, read.json())
    assert (200, 9000) == (stored.status_code, stored.json()["created"])


@pytest.mark.usefixtures("forgetful")
def test_fault_03_a_read_only_disk_is_not_ready_until_it_is_writable(own: Service, disk: Disk, engine: str) -> None:
    """As a full one. A PostgreSQL that takes no writes is a standby, which is 503."""
    expected = {"sqlite": (507, "/problems/storage-full"), "postgresql": (503, "/problems/unavailable")}[engine]
    with Client(own.address) as engineer:
        disk.set_read_only("on")
        refused = engineer.post("/sprockets", json=a_sprocket())
        read_only = readiness(own.address)
        read = engineer.get("/sprockets")
        disk.set_read_only("off")
        after = readiness(own.address)
        stored = engineer.post("/sprockets", json=a_sprocket())

    assert expected == (refused.status_code, refused.json()["type"])
    assert [NOT_READY, READY] == [read_only, after]
    assert (200, []) == (read.status_code, read.json())
    assert 201 == stored.status_code


@pytest.mark.usefixtures("forgetful")
def test_fault_04_without_its_database_it_is_alive_and_not_ready(own_server: PostgreSQLServer) -> None:
    """Nobody should restart it for that, and nobody should send it requests; when the database is back, they may."""
    with Service(Settings(database_url=own_server.new_database())) as service:
        before = readiness(service.address)
        own_server.stop()
        began = time.monotonic()
        away = readiness(service.address)
        live = ask(service.address, "live")
        took = time.monotonic() - began
        own_server.start()
        after = readiness(service.address)

    assert [READY, NOT_READY, READY] == [before, away, after]
    assert 200 == live.status_code
    assert took < 4


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Return a folder that a database lies in, as on a disk of its own."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("forgetful")
def test_fault_04_without_its_file_it_is_not_ready_until_that_is_back(mounted: Path) -> None:
    """A disk that is gone is one that does not answer: 503 with a reason, and no fault of the program."""
    with Service(Settings(database_url=f"sqlite:///{mounted / 'factory.db'}")) as service:
        before = readiness(service.address)
        mounted.rename(away := mounted.with_name("away"))
        gone, detail = readiness(service.address), ask(service.address, "ready").json()["detail"]
        away.rename(mounted)
        after = readiness(service.address)

    assert [READY, NOT_READY, READY] == [before, gone, after]
    assert "No such file" in detail


def test_without_the_file_of_the_database_the_metrics_say_so(mounted: Path) -> None:
    """They are told all the same, but for what only the file could tell."""
    with Service(Settings(database_url=f"sqlite:///{mounted / 'factory.db'}")) as service:
        mounted.rename(mounted.with_name("away"))
        answer = httpx.get(f"{service.address}/metrics", trust_env=False, verify=TLS)

    assert 200 == answer.status_code
    assert "\nsprocket_ready 0" in answer.text
    assert "\nsprocket_database_streams_open 0" in answer.text
    assert "\nsprocket_database_disk_free_bytes" not in answer.text


@pytest.mark.usefixtures("forgetful")
def test_room_that_only_root_may_use_is_none(own: Service, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service on SQLite is not ready before the last room for its user is gone. Of a server only that one knows."""
    room = SimpleNamespace(f_flag=0, f_bfree=10**9, f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _path: room)

    assert {"sqlite": NOT_READY, "postgresql": READY}[engine] == readiness(own.address)


@pytest.mark.usefixtures("forgetful")
def test_fault_36_a_schema_that_was_changed_meanwhile_is_not_ready(own: Service) -> None:
    """A newer program has brought the database up to date: this one does not know it, and says so."""

    async def set_newest(tx: Transaction, number: int) -> None:
        await tx.run("UPDATE migrations SET number = :number WHERE number = 1", number=number)

    own.run(own.database.write, set_newest, 9999, by="test")
    changed = readiness(own.address)
    detail = ask(own.address, "ready").json()["detail"]

    assert NOT_READY == changed
    assert "version 9999" in detail


def test_the_answer_comes_in_time(own: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs is not waited for: not being told is worse than being told no."""

    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(own.database, "check", hang)
    began = time.monotonic()
    answer = ask(own.address, "ready")

    assert 503 == answer.status_code
    assert time.monotonic() - began < 3


def test_whoever_asks_often_costs_the_database_nothing(own: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, so what was found stands for a second."""
    looks = []

    async def check() -> None:
        looks.append(time.monotonic())

    monkeypatch.setattr(own.database, "check", check)
    began = time.monotonic()
    with httpx.Client(trust_env=False, verify=TLS) as client:
        answers = {client.get(f"{own.address}/health/ready").status_code for _ in range(100)}
    seconds = time.monotonic() - began

    assert {200} == answers
    assert len(looks) <= 1 + seconds
