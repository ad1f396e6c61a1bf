"""What the tests are made with: callers, the service in a thread, the program as a process."""

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import httpx
import uvloop

from sprocket_factory.app import build_app, limits_of
from sprocket_factory.database import TABLES_WITH_IDS, Database, Transaction, open_database
from sprocket_factory.database.addresses import is_postgresql
from sprocket_factory.database.postgresql_ordering import ONE_AT_A_TIME
from sprocket_factory.database.sqlite_transaction import SQLiteTransaction
from sprocket_factory.entities.production_import import Merged, merge_production
from sprocket_factory.server import GRACE_SECONDS, Server, address_of, listen, make_server
from sprocket_factory.settings import Settings

BASE_PATH = "/sprocketFactory/v1"

NewDatabase = Callable[[], str]
"""Gives the address of a database in which nothing is stored yet."""

TABLES = (
    "replays",
    "production",
    "production_quarters",
    "production_days",
    "factories",
    "sprockets",
    "sessions",
    "keys",
    "changes",
    "change_rows",
)

START_SECONDS = 20

ADDRESS = re.compile(r"(?<=\s)https?://[\d.]+:\d+")

TLS = ssl.create_default_context()
"""No caller uses it, but httpx would make one for each: 20 ms."""

ALWAYS_POSSIBLE = 405
"""No operation describes that others do not exist."""


class Client(httpx.Client):
    """A caller of the API: paths are relative to its base path, unless they begin with the server's address.

    Every refusal that it gets has to be one that the description of the API names for the operation.
    """

    def __init__(self, address: str) -> None:
        super().__init__(
            base_url=address + BASE_PATH,
            timeout=20,
            trust_env=False,
            verify=TLS,
            event_hooks={"response": [self._check_described]},
        )
        self.address = address

    def speak(self, request: bytes) -> bytes:
        """Send bytes as they are, on a connection of their own, and return everything that comes back."""
        url = httpx.URL(self.address)
        with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
            connection.sendall(request)
            if b"connection: close" not in request.lower():
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def _check_described(self, answer: httpx.Response) -> None:
        path = unquote(answer.request.url.raw_path.partition(b"?")[0], errors="replace").rstrip("/")
        is_refusal = answer.headers.get("Content-Type") == "application/problem+json"
        if not is_refusal or not path.startswith(BASE_PATH) or answer.status_code == ALWAYS_POSSIBLE:
            return
        method = answer.request.method
        slug = answer.json()["type"].removeprefix("/problems/") if answer.read() else ""
        if not is_described(operations_at(self.address), method, path, answer.status_code, slug):
            raise AssertionError(
                f"{method} {path} was refused with {answer.status_code} {slug}, which /openapi.json does not say."
            )


class Operation(NamedTuple):
    """What the description of the API says of the refusals of one operation."""

    method: str
    path: re.Pattern[str]
    statuses: frozenset[str]
    slugs: frozenset[str] | None
    """Unless the description names none at all."""


@cache
def operations_at(address: str) -> list[Operation]:
    """Return what the service at this address says of its operations."""
    document = httpx.get(f"{address}/openapi.json", trust_env=False, verify=TLS).json()
    return [
        Operation(
            method.upper(),
            re.compile(re.sub(r"{\w+}", "[^/]+", path), re.DOTALL),
            frozenset(operation["responses"]),
            frozenset(operation["x-problems"]) if "x-problems" in operation else None,
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def is_described(operations: list[Operation], method: str, path: str, status: int, slug: str) -> bool:
    """Return whether a refusal is one that the operation may give; what a HEAD got has no slug to look at."""
    at_path = [operation for operation in operations if operation.path.fullmatch(path)]
    if not at_path:
        return status == 404
    return any(
        operation.method == method
        and str(status) in operation.statuses
        and (not slug or operation.slugs is None or slug in operation.slugs)
        for operation in at_path
    )


class Service:
    """The whole service in a thread of the tests' own process, with real sockets and a real database."""

    def __init__(self, settings: Settings, anonymous_role: str = "engineer") -> None:
        self.settings = replace(settings, anonymous_role=anonymous_role)
        self.database: Database
        self.loop: asyncio.AbstractEventLoop
        self._server: Server
        self._listener = listen("127.0.0.1", 0, anybody_writes=True)
        self.address = address_of(self._listener)
        self._ready = threading.Event()
        self._told: asyncio.Event
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="service")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.wait()

    def start(self) -> None:
        """Run it, from now on."""
        self._thread.start()
        assert self._ready.wait(START_SECONDS), "the service did not start"

    def stop(self) -> None:
        """Tell it to end in order, and go on."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._told.set)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def let_seconds_pass(self, count: int) -> None:
        """Let so many seconds go by for those who keep it waiting, within an instant."""
        self.run(self._tick, count)

    async def _tick(self, count: int) -> None:
        for _ in range(count):
            self._server.tick()
            await asyncio.sleep(0)

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function in the service's own loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self.loop).result(START_SECONDS)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.database = await open_database(
            self.settings.database_url,
            connections=self.settings.database_connections,
            through_proxy=self.settings.database_through_proxy,
            max_streams=self.settings.max_lists,
        )
        self._server = make_server(build_app(self.settings, self.database), limits_of(self.settings))
        self._told = asyncio.Event()
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        self.loop.call_soon(self._ready.set)
        await self._told.wait()
        await self._finish()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await self.database.close()

    async def _finish(self) -> None:
        """Let what is under way come to its end, as uvicorn does; but uvicorn looks for it ten times a second only."""
        state = self._server.server_state
        self._server.end_endless()
        for server in self._server.servers:
            server.close()
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while state.connections or state.tasks:  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0.001)
        for task in state.tasks:
            task.cancel()


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Return what it shows."""
        return self.seconds


class HeldMerge:
    """A merge that stands still at the end of its transaction until it is let go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    async def merge(self, tx: Transaction, *args: Any) -> Merged:
        """Merge, and end when it is time."""
        merged = await merge_production(tx, *args)
        self.begun.set()
        await wait_in(tx, self.go_on)
        return merged


class Program:
    """`sprocket-factory` as a process of its own, for what only a process can show: exit codes, signals, kill -9."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sprocket_factory", *arguments],
            cwd=folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        """What it has said so far."""
        self._said = threading.Condition()
        self._listener = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._listener.start()

    def wait_for_address(self) -> str:
        """Return the address it says it serves at."""
        with self._said:
            self._said.wait_for(lambda: ADDRESS.search(self.output) or self.process.poll() is not None, START_SECONDS)
        found = ADDRESS.search(self.output)
        assert found is not None, f"It does not serve: {self.output}"
        return found.group()

    def kill(self) -> None:
        """End it at once, as a crash would, and whatever processes it has begun."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in order and return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._said:
                    self.output += line
                    self._said.notify_all()
        self.process.wait()
        with self._said:
            self._said.notify_all()

    def wait(self) -> int:
        """Wait until it has ended and return its exit code."""
        exit_code = self.process.wait(START_SECONDS)
        self._listener.join(START_SECONDS)
        assert not self._listener.is_alive(), "something that it has begun has not ended"
        return exit_code


async def wait_in(tx: Transaction, event: threading.Event) -> None:
    """Wait within a write function. On SQLite nobody else writes meanwhile, so there the thread itself stands still."""
    if isinstance(tx, SQLiteTransaction):
        event.wait(START_SECONDS)
    else:
        await asyncio.to_thread(event.wait, START_SECONDS)


def wait_for_a_lock(service: Service) -> None:
    """Wait until somebody waits for another's transaction. On SQLite whoever writes next does so anyway."""
    if is_postgresql(service.settings.database_url):
        deadline = monotonic() + START_SECONDS
        while not service.run(service.database.all, "SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert monotonic() < deadline, "nobody waits"
            sleep(0.01)


async def forget_everything(tx: Transaction) -> None:
    """Remove all that is stored, and that ids were ever given."""
    is_sqlite = isinstance(tx, SQLiteTransaction)
    if not is_sqlite:
        await tx.one(ONE_AT_A_TIME)  # nothing is on its way from one table to the other meanwhile
        await tx.run("DELETE FROM new_changes")
    for table in TABLES:
        await tx.run(f"DELETE FROM {table}")
    if is_sqlite:
        await tx.run("DELETE FROM sqlite_sequence")
        return
    for table in TABLES_WITH_IDS:
        await tx.one("SELECT setval(CAST(pg_get_serial_sequence(:table, 'id') AS regclass), 1, false)", table=table)


def run_program(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `sprocket-factory` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sprocket_factory", *arguments],
        cwd=folder,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would set the program."""
    own = ("SPROCKET_FACTORY_", "PYTHONDONTWRITEBYTECODE")  # without bytecode each start takes a tenth of a second more
    others = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return others | {"SPROCKET_FACTORY_ANONYMOUS_ROLE": "engineer", "SPROCKET_FACTORY_DRAIN_SECONDS": "0"}


def pointers(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem["errors"]]


def a_sprocket(**members: object) -> dict[str, object]:
    """Return a sprocket as one posts it, with these members instead of the usual ones."""
    return {"teeth": 20, "pitch_diameter": 162.37, "outside_diameter": 175.61, "pitch": 25.4} | members
