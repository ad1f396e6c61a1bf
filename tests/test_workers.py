"""`serve --workers`: several processes on one socket and one PostgreSQL, and a parent that looks after them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import run_here
from harness import START_SECONDS, Client, Program, a_sprocket
from postgresql_server import PostgreSQLServer

WORKERS = 2


@pytest.fixture
def serve(start: Callable[..., Program], postgresql: PostgreSQLServer) -> Callable[[], Program]:
    """Return what starts several workers on a database in which nothing is stored yet."""
    flags = several_on(postgresql.new_database())
    return lambda: start(*flags)


@pytest.fixture(scope="module")
def served(postgresql: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run several workers for the tests after which there are as many as before."""
    program = Program(*several_on(postgresql.new_database()), folder=tmp_path_factory.mktemp("served"))
    yield program
    program.kill()


def several_on(url: str) -> tuple[str, ...]:
    """Return the command that has several workers serve a database."""
    return ("serve", "--port", "0", "--workers", str(WORKERS), "--database-url", url)


def workers_of(program: Program) -> set[int]:
    """Return the process ids of the workers, once there are as many as there should be."""
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while len(found := {int(child) for child in children.read_text().split()}) != WORKERS:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def is_running(process: int) -> bool:
    """Return whether a process has not ended yet; one that nobody has asked after has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def stopped(processes: set[int]) -> Iterator[None]:
    """Let these processes stand still."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def ids_of_first_answers(program: Program, address: str) -> list[str]:
    """Return the id of the request that each worker answers while all others stand still."""
    ids = []
    workers = workers_of(program)
    for worker in workers:
        with stopped(workers - {worker}), Client(address) as caller:
            ids.append(caller.get("/sprockets").raise_for_status().headers["X-Request-ID"])
    return ids


def test_every_worker_serves(served: Program) -> None:
    """Each answers alone while the others stand still, and no two give their requests the same id."""
    address = served.wait_for_address()

    assert WORKERS == len(set(ids_of_first_answers(served, address)))


def test_workers_tell_the_same(served: Program) -> None:
    """What one has stored the others find at once."""
    address = served.wait_for_address()
    workers = workers_of(served)
    found = []
    for number, worker in enumerate(workers, 1):
        with stopped(workers - {worker}), Client(address) as engineer:
            engineer.post("/sprockets", json=a_sprocket(teeth=10 + number)).raise_for_status()
            found.append([sprocket["teeth"] for sprocket in engineer.get("/sprockets").json()])

    assert [[11], [11, 12]] == found


def test_a_worker_that_is_killed_is_replaced(served: Program) -> None:
    """The others serve meanwhile; soon there are as many as before, and the new one serves as well."""
    address = served.wait_for_address()
    before = workers_of(served)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    with Client(address) as caller:
        meanwhile = caller.get("/sprockets").status_code
    while killed in (after := workers_of(served)):
        time.sleep(0.01)
    ids = ids_of_first_answers(served, address)

    assert 200 == meanwhile
    assert before - {killed} == after & before
    assert WORKERS == len(set(ids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_workers_in_order(serve: Callable[[], Program], number: signal.Signals) -> None:
    """The exit code is 0, no worker is left, and nothing is complained of."""
    program = serve()
    program.wait_for_address()
    workers = workers_of(program)
    exit_code = program.stop(number)

    assert 0 == exit_code, program.output
    assert [] == [worker for worker in workers if is_running(worker)]
    assert '"level":"error"' not in program.output


def test_a_signal_ends_all_workers_as_soon_as_they_are_announced(serve: Callable[[], Program]) -> None:
    """Whoever was told the address may stop the service at once, and it still ends with the exit code 0."""
    exit_codes = []
    for _ in range(3):
        program = serve()
        program.wait_for_address()
        exit_codes.append(program.stop())

    assert [0] * 3 == exit_codes


def test_workers_end_with_their_parent(serve: Callable[[], Program]) -> None:
    """Where the parent is killed nobody is left who holds the port, so that it can be started again."""
    program = serve()
    program.wait_for_address()
    workers = workers_of(program)
    program.process.kill()
    deadline = time.monotonic() + START_SECONDS
    while any(is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert [] == [worker for worker in workers if is_running(worker)]


def test_sqlite_is_served_by_one_process(tmp_path: Path) -> None:
    """More are refused with the reason, and no database is made."""
    refused = run_here("serve", "--workers", "2", "--database-url", "sqlite:///a.db", "--port", "0", folder=tmp_path)

    assert 1 == refused.returncode
    assert "One process serves an SQLite file, not 2" in refused.stderr
    assert [] == list(tmp_path.iterdir())
