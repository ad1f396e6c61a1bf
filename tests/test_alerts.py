"""The alert rules and the dashboard that are shipped: each alert fires in the state that it is for, and only there."""

import asyncio
import json
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from faults import TIME
from full_disks import Disk
from harness import Client, Service, a_sprocket, wait_in
from keyholders import WRONG_KEY, caller
from log_lines import log_read
from postgresql_server import PostgreSQLServer
from prometheus import DEPLOY, RULES, History, minutes_for
from promql import metrics_in
from sprocket_factory.commands.backup_schedule import scheduled_backups
from sprocket_factory.database import Transaction
from sprocket_factory.endpoints import status
from sprocket_factory.entities.instant import SECOND, now, to_text
from sprocket_factory.observe_metrics import describe_metrics
from sprocket_factory.settings import Settings

Worsen = Callable[[int], None]
"""Does in a minute what makes it so."""

MADE_BY_PROMETHEUS = {"up"}

PARTS = ("_bucket", "_count", "_sum")


class Scene:
    """A service in which something is wrong."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.service = service
        self.monkeypatch = monkeypatch
        self.folder = folder
        self.client = Client(service.address)

    def record(self, ago_seconds: int, actual: int, goal: int) -> None:
        """Record what the one factory made so long ago."""
        body = {"sprocket_production_actual": actual, "sprocket_production_goal": goal}
        time = to_text(now() - ago_seconds * SECOND)
        self.client.put(f"/production/1/{time}", json=body).raise_for_status()


def do_nothing(_minute: int) -> None:
    """Let the minute pass."""


@contextmanager
def usual_traffic(scene: Scene) -> Iterator[Worsen]:
    """What goes on where nothing is wrong, now and then a mistake of a caller's included."""

    def work(minute: int) -> None:
        scene.record(0, 32, 31)
        scene.client.get("/sprockets/1")
        scene.client.get("/production")
        if minute % 10 == 0:
            scene.client.post("/sprockets", json=a_sprocket(teeth=2))
        with caller(scene.service, WRONG_KEY) as stranger:
            stranger.get("/me")

    yield work


@contextmanager
def stopped(scene: Scene) -> Iterator[Worsen]:
    """The service has ended."""
    scene.service.stop()
    scene.service.wait()
    yield do_nothing


@contextmanager
def on_a_full_disk(scene: Scene) -> Iterator[Worsen]:
    """Nothing can be written any more."""
    disk = Disk(scene.service, None)
    disk.set_read_only("on")
    try:
        yield lambda _minute: scene.client.post("/sprockets", json=a_sprocket()).close()
    finally:
        disk.set_read_only("off")


@contextmanager
def with_a_bug(scene: Scene) -> Iterator[Worsen]:
    """Somebody meets a bug, once in a while."""

    async def break_down(*_anything: object) -> None:
        raise ZeroDivisionError

    scene.monkeypatch.setattr("sprocket_factory.endpoints.sprockets.find_sprocket", break_down)

    def work(minute: int) -> None:
        for _ in range(100):
            scene.client.get("/factories/1")
        if minute % 5 == 0:
            scene.client.get("/sprockets/1")

    yield work


@contextmanager
def behind_a_long_transaction(scene: Scene) -> Iterator[Worsen]:
    """Another program holds the database every few minutes."""
    path = scene.service.settings.database_url.removeprefix("sqlite:///")

    def work(minute: int) -> None:
        if minute % 4 == 0:
            with closing(apsw.Connection(path)) as other:
                other.execute("BEGIN IMMEDIATE")
                letting_go = threading.Timer(1.1, other.execute, args=["ROLLBACK"])
                letting_go.start()
                scene.client.post("/sprockets", json=a_sprocket()).raise_for_status()
                letting_go.join()

    yield work


@contextmanager
def on_a_disk_that_fills_up(scene: Scene) -> Iterator[Worsen]:
    """Each minute leaves less room. Nobody can wait for a real disk to be nearly full, so it only says so."""
    room = SimpleNamespace(f_flag=0, f_bfree=10**9, f_bavail=2 * 10**6, f_frsize=4096)
    scene.monkeypatch.setattr(os, "statvfs", lambda _path: room)

    def work(_minute: int) -> None:
        room.f_bavail -= 2000

    yield work


@contextmanager
def beside_a_reader_who_does_not_end(scene: Scene) -> Iterator[Worsen]:
    """Somebody holds a snapshot while much is written, and the log cannot be used again."""
    with closing(apsw.Connection(scene.service.settings.database_url.removeprefix("sqlite:///"))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sprockets")

        async def write_much(tx: Transaction) -> None:
            for name in ("a", "b", "c"):
                await tx.run(f"CREATE TABLE {name} (bytes)")
                await tx.run(f"INSERT INTO {name} VALUES (zeroblob(50000000))")

        scene.service.run(scene.service.database.write, write_much, by="test")
        yield do_nothing


@contextmanager
def with_few_files_left(_scene: Scene) -> Iterator[Worsen]:
    """The process has opened nearly as many files as it may."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the loop has nothing else to do
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 5, limits[1]))
    try:
        yield do_nothing
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextmanager
def under_a_guesser(scene: Scene) -> Iterator[Worsen]:
    """Somebody tries key after key."""

    def work(_minute: int) -> None:
        with caller(scene.service, WRONG_KEY) as stranger:
            for _ in range(120):
                stranger.get("/me")

    yield work


@contextmanager
def with_a_log_that_nobody_takes(scene: Scene) -> Iterator[Worsen]:
    """Whoever read standard error has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    broken = os.fdopen(writing, "w")
    scene.monkeypatch.setattr(sys, "stderr", broken)

    def work(minute: int) -> None:
        if minute == 0:
            with caller(scene.service, WRONG_KEY) as stranger:
                stranger.get("/me")

    try:
        yield work
    finally:
        scene.monkeypatch.setattr(sys, "stderr", sys.__stderr__)
        with suppress(BrokenPipeError):
            broken.close()


@contextmanager
def without_backups(scene: Scene) -> Iterator[Worsen]:
    """They are to be made, and cannot: their folder is none."""
    (scene.folder / "file").touch()
    settings = Settings(backup_every=60, backup_folder=str(scene.folder / "file" / "backups"))
    over, began = asyncio.Event(), threading.Event()

    async def make_backups() -> None:
        async with scheduled_backups(settings):
            began.set()
            await over.wait()

    making = asyncio.run_coroutine_threadsafe(make_backups(), scene.service.loop)
    began.wait()
    try:
        yield do_nothing
    finally:
        scene.service.loop.call_soon_threadsafe(over.set)
        making.result()


@contextmanager
def in_a_factory_that_stands_still(scene: Scene) -> Iterator[Worsen]:
    """It has recorded nothing for two hours."""
    scene.record(7200, 32, 31)
    yield do_nothing


@contextmanager
def in_a_factory_that_is_behind(scene: Scene) -> Iterator[Worsen]:
    """It makes half of what it set out to make."""
    yield lambda _minute: scene.record(0, 15, 30)


State = Callable[[Scene], AbstractContextManager[Worsen]]

STATES: dict[State, set[str]] = {
    usual_traffic: set(),
    stopped: {"SprocketFactoryDown"},
    on_a_full_disk: {"SprocketFactoryNotReady", "SprocketFactoryStorageFull", "SprocketFactoryErrors"},
    with_a_bug: {"SprocketFactoryUnforeseen"},
    behind_a_long_transaction: {"SprocketFactorySlow", "SprocketFactoryWritesSlow"},
    on_a_disk_that_fills_up: {"SprocketFactoryDiskFillsUp"},
    beside_a_reader_who_does_not_end: {"SprocketFactoryWalGrows"},
    with_few_files_left: {"SprocketFactoryFilesRunOut"},
    under_a_guesser: {"SprocketFactoryWrongKeys"},
    with_a_log_that_nobody_takes: {"SprocketFactoryLogLinesLost"},
    without_backups: {"SprocketFactoryBackupOld"},
    in_a_factory_that_stands_still: {"ProductionNotRecorded"},
    in_a_factory_that_is_behind: {"ProductionBehindGoal"},
}
"""Each with the alerts that fire there."""

ON_POSTGRESQL = {"SprocketFactoryConnectionsExhausted", "SprocketFactoryProductionUnreadable"}


@pytest.fixture
def unhurried(nothing_counted: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it takes long to read
    """Let a minute be as short as it takes to ask: what was found does not stand for a moment, as it else would."""
    monkeypatch.setattr(status, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(status, "PRODUCTION_KEPT_SECONDS", 0.0)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_what_is_wrong_fires_its_alerts_and_no_others(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics are those of a real service that was brought into that state, minute by minute."""
    with Service(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}")) as service:
        scene = Scene(service, monkeypatch, tmp_path)
        scene.client.post("/factories", json={"name": "Sheffield"}).raise_for_status()
        scene.client.post("/sprockets", json=a_sprocket()).raise_for_status()
        history = History(service.address)
        history.scrape()
        with closing(scene.client), state(scene) as worsen:
            worsened = firing(history, worsen, minutes_for(STATES[state]))

    assert STATES[state] == worsened
    assert worsened == history.confirmed(tmp_path)


def firing(history: History, worsen: Worsen, minutes: int) -> set[str]:
    """Return what fires at the end of so many minutes."""
    for minute in range(minutes):
        worsen(minute)
        history.scrape()
    return history.firing()


@pytest.mark.usefixtures("unhurried")
def test_a_crowd_before_postgresql_fires_its_alerts(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The one connection is held by a write that does not end, and everybody else waits."""
    monkeypatch.setattr(status, "PRODUCTION_SECONDS", 0.02)
    monkeypatch.setattr("sprocket_factory.database.postgresql.CHECK_SECONDS", 0.02)
    held = threading.Event()

    async def hold(tx: Transaction) -> None:
        await wait_in(tx, held)

    def wait_in_line(address: str) -> None:
        with Client(address) as client:
            while not held.is_set():
                client.get("/sprockets")

    with Service(Settings(database_url=postgresql.new_database(), database_connections=1)) as service:
        history = History(service.address)
        history.scrape()
        waiting = [
            threading.Thread(target=service.run, args=[service.database.write, hold], kwargs={"by": "test"}),
            *(threading.Thread(target=wait_in_line, args=[service.address]) for _ in range(2)),
        ]
        for thread in waiting:
            thread.start()
        while service.database.measures()["sprocket_database_connections_waiting"] < 2:
            pass
        fired = firing(history, do_nothing, minutes_for(ON_POSTGRESQL))
        held.set()
        for thread in waiting:
            thread.join()

    assert ON_POSTGRESQL == fired
    assert fired == history.confirmed(tmp_path)


def test_every_alert_is_seen_to_fire() -> None:
    """A rule that no state is known for may never have worked."""
    assert RULES.keys() == set().union(*STATES.values()) | ON_POSTGRESQL


def known_metrics() -> set[str]:
    """Return the names that expressions may use."""
    names = {name for name, *_ in describe_metrics()}
    histograms = {name for name, kind, *_ in describe_metrics() if kind == "histogram"}
    return names | MADE_BY_PROMETHEUS | {f"{name}{part}" for name in histograms for part in PARTS}


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_names_no_metric_that_there_is_not(alert: str) -> None:
    """It would never fire, and nobody would notice."""
    assert set() == metrics_in(RULES[alert].expression) - known_metrics()


def panels() -> list[tuple[str, str]]:
    """Return title and expression of everything that the dashboard shows."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "5m"))
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.mark.usefixtures("unhurried")
def test_every_panel_of_the_dashboard_shows_something(
    tmp_path: Path, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one engine or the other: an expression that gives nothing is an empty panel for ever."""
    empty = {expression for _, expression in panels()}
    names = set().union(*map(metrics_in, empty))
    for url in (f"sqlite:///{tmp_path / 'a.db'}", postgresql.new_database()):
        with Service(Settings(database_url=url)) as service, log_read(monkeypatch):
            scene = Scene(service, monkeypatch, tmp_path)
            scene.client.post("/factories", json={"name": "Sheffield"}).raise_for_status()
            history = History(service.address)
            for minute in range(3):
                with usual_traffic(scene) as work:
                    work(minute)
                csv = f"factory_id,time,sprocket_production_actual,sprocket_production_goal\n1,{TIME},1,1\n"
                scene.client.post("/production", content=csv, headers={"Content-Type": "text/csv"}).raise_for_status()
                history.scrape()
            scene.client.close()
        empty = {expression for expression in empty if not history.query(expression)}

    assert set() == empty
    assert set() == names - known_metrics()
