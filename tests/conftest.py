"""The fixtures: a real server on a real database for each test, and the people who call it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Client, Program, Service
from sprocket_factory.settings import Settings


@pytest.fixture
def anyio_backend() -> str:
    """Run tests that are coroutines on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Return the address of a database that is not there yet."""
    return f"sqlite:///{tmp_path / 'factory.db'}"


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return the settings of the service under test; a test module may override them."""
    return Settings(database_url=database_url)


@pytest.fixture(scope="session")
def stopping() -> Iterator[list[Service]]:
    """Keep the services that were told to stop, so that the next test need not wait until the last one has."""
    services: list[Service] = []
    yield services
    for service in services:
        service.wait()


@pytest.fixture
def service(settings: Settings, stopping: list[Service]) -> Iterator[Service]:
    """Run the service."""
    running = Service(settings)
    running.start()
    yield running
    running.stop()
    stopping.append(running)


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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Return what starts the program in a folder of the test's own; whatever still runs at the end is killed."""
    programs: list[Program] = []

    def start_program(*arguments: str) -> Program:
        programs.append(Program(*arguments, folder=tmp_path))
        return programs[-1]

    yield start_program
    for program in programs:
        if program.process.poll() is None:
            program.kill()
