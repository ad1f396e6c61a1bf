"""The fixtures: a real server on a real database for each test, on each engine, and the people who call it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser

import chromium
from certified_provider import CertifiedProvider
from harness import Client, HeldMerge, NewDatabase, Program, Service, forget_everything
from log_lines import Logged, log_read
from postgresql_files import MEMORY, has_room
from postgresql_server import PostgreSQLServer
from sharing import Sharing
from sprocket_factory import observe_metrics
from sprocket_factory.settings import Settings

# What is tried is the same in each run: a failure is that of a change, and not of the dice.
hypothesis.settings.register_profile("the same each time", derandomize=True)
hypothesis.settings.load_profile("the same each time")


def pytest_configure() -> None:
    """Keep the files of tests in memory: on a disk, which has to sync every write, they take twice as long."""
    if has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run all tests in several processes, but a choice of them in this one: it takes seconds to begin others."""
    is_choice = any(config.getoption(name, default=None) for name in ("keyword", "markexpr", "lf", "collectonly"))
    if is_choice or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(max(os.cpu_count() or 2, 2), 8)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    """Share the tests between the processes."""
    return Sharing(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that there was no browser, and how to get one, where tests were skipped for want of it."""
    if chromium.find_chromium() is None and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(chromium.HOW_TO_GET_IT, yellow=True, bold=True)


@pytest.fixture
def anyio_backend() -> str:
    """Run tests that are coroutines on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Return on which engine the service runs: whatever comes to this fixture is tested on both."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL server."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[PostgreSQLServer]:
    """Run a PostgreSQL of the test's own, which it may kill."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(
    engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewDatabase]:
    """Return what gives the address of a database in which nothing is stored yet."""
    if engine == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        yield server.new_database
    else:
        yield lambda: f"sqlite:///{tmp_path_factory.mktemp('database') / 'factory.db'}"


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """Return the address of a database in which nothing is stored yet."""
    return new_database()


@pytest.fixture
def bare_database(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database that has not even tables."""
    if engine == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        return server.bare_database()
    return f"sqlite:///{tmp_path / 'bare.db'}"


@pytest.fixture(scope="module")
def settings(new_database: NewDatabase) -> Settings:
    """Return the settings of the service under test; a test module may override them."""
    return Settings(database_url=new_database())


@pytest.fixture(scope="session")
def stopping(new_database: NewDatabase) -> Iterator[list[Service]]:
    """Keep the services that were told to stop, so that the next test need not wait until the last one has."""
    del new_database  # it outlives them
    services: list[Service] = []
    yield services
    for service in services:
        service.wait()


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, settings: Settings, stopping: list[Service]) -> Iterator[Service]:
    """Run one service for all the tests of a module; one that is marked as closed lets nobody in without a key."""
    is_closed = request.node.get_closest_marker("closed") is not None
    service = Service(settings, anonymous_role="none" if is_closed else "engineer")
    service.start()
    yield service
    service.stop()
    stopping.append(service)


@pytest.fixture
def service(running: Service) -> Service:
    """Return the service with nothing stored and no id given yet."""
    running.run(running.database.write, forget_everything, by="test")
    return running


@pytest.fixture
def nothing_counted() -> None:
    """Let no request have been counted: whatever this process has counted before is told, and read, at each scrape."""
    observe_metrics.request_seconds._series.clear()  # noqa: SLF001 - the program itself never forgets
    observe_metrics._series.clear()  # noqa: SLF001 - as above


@pytest.fixture
def engineer(service: Service) -> Iterator[Client]:
    """Return somebody who keeps the catalogue. Until the service knows keys, people differ in name alone."""
    with Client(service.address) as client:
        yield client


@pytest.fixture
def viewer(service: Service) -> Iterator[Client]:
    """Return somebody who reads."""
    with Client(service.address) as client:
        yield client


@pytest.fixture(scope="module")
def provider() -> Iterator[CertifiedProvider]:
    """Run the certified OpenID Connect provider."""
    with CertifiedProvider() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a real browser for all the tests of a module."""
    with chromium.open_browser() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, board: Service) -> Iterator[chromium.Visitor]:
    """Return somebody with a browser, in which nothing goes wrong, on the `board` of the test's module."""
    somebody = chromium.Visitor(browser, board.address)
    yield somebody
    somebody.close()
    assert [] == somebody.faults


@pytest.fixture
def admin(board: Service) -> Iterator[Client]:
    """Return somebody who does by the API what that board shows."""
    with Client(board.address) as client:
        yield client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Return what starts the program in a folder of the test's own; whatever still runs at the end is killed."""
    programs: list[Program] = []

    def start_program(*arguments: str) -> Program:
        programs.append(Program(*arguments, folder=tmp_path))
        return programs[-1]

    yield start_program
    for program in programs:
        program.kill()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldMerge]:
    """Hold every merge of records until it is let go on."""
    merge = HeldMerge()
    monkeypatch.setattr("sprocket_factory.endpoints.production_bulk.merge_production", merge.merge)
    yield merge
    merge.go_on.set()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """Return the log, which says all that it can."""
    with log_read(monkeypatch) as log:
        yield log
