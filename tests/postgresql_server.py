"""A PostgreSQL server of the tests' own.

It never syncs, for what it stores need not outlive the machine. But synchronous_commit stays on, which costs nothing
measurable then: without it a server that is killed forgets what it has acknowledged.

What each one begins with is made once per process, and copied: that takes a tenth of the time.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg

from postgresql_files import in_memory, lasting_folder, new_folder, own, reachable_programs, whose_programs_run
from sprocket_factory.database import open_database

Connection: TypeAlias = "asyncpg.Connection[Any]"
"""Only its stubs know that it takes the type of its rows."""

ADMIN = "postgres"
OWNER = "factory"
"""Owns the databases, and may do nothing else: as the service ought to run."""

PASSWORD = "open: s@sam%/e"
GUARDED = "guarded"
"""As OWNER, but asked for the PASSWORD."""

TEMPLATE = "migrated"

START_SECONDS = 20

PORTS = range(20_000, 32_000)
"""None that a client is given: whoever comes back to his port after a while must find it free."""

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "300",
    "deadlock_timeout": "100ms",
}

REPLICATED = OPTIONS | {"wal_level": "replica", "max_wal_senders": "4"}
"""For a primary that a standby is to follow, and for that standby."""

WHO_MAY_COME_IN = f"""
local all all trust
host all {GUARDED} 127.0.0.1/32 scram-sha-256
host all,replication all 127.0.0.1/32 trust
"""

# Runs the server until it is told by which signal to end, or until nobody is there any more who could tell.
KEEPER = """
"$@" & read -r signal
kill -"${signal:-QUIT}" $!
wait $!
[ -n "$signal" ] || rm -rf "$FOLDER"
"""

ENDED = "Z"
STANDS_STILL = "T"


class PostgreSQLServer:
    """A server with a folder of its own. It ends with the process that started it, however that ends.

    Other settings than the usual ones may be given. A standby follows its primary; both have to be REPLICATED.
    """

    def __init__(self, settings: Mapping[str, str] = OPTIONS, primary: Self | None = None) -> None:
        self.settings = settings
        self._primary = primary
        self.folder = new_folder(in_memory())
        self.port = free_port()
        self._user = whose_programs_run()
        self._keeper: subprocess.Popen[str] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        try:
            self._take_data()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop("QUIT")
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        command = [self.programs / "postgres", "-D", "data", "-p", str(self.port), "-k", str(self.folder), *options]
        with (self.folder / "log").open("a") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "keeper", *map(str, command)],
                cwd=self.folder,
                env=os.environ | {"FOLDER": str(self.folder)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests: they end it when they have ended
                **self._user,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self._keeper.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.01)

    def stop(self, signal: str = "INT") -> None:
        """End it: INT ends in order, QUIT like a crash, but with a word to each client. Every connection is cut."""
        if self._keeper is not None:
            self._keeper.communicate(f"{signal}\n")
            self._keeper = None

    def kill(self) -> None:
        """Let all its processes be gone at once, whatever they were at: no client is told, nothing is tidied up."""
        processes = self._halt()
        for process in processes:
            os.kill(process, signal.SIGKILL)
        self.stop("KILL")
        while any(state_of(process) != ENDED for process in processes):
            time.sleep(0.001)  # it does not start again while anybody holds its memory

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it stand still: it keeps every connection, and says nothing."""
        processes = self._halt()
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def url(self, database: str, user: str = OWNER) -> str:
        """Return the address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def programs(self) -> Path:
        """Return the folder with pg_dump and the others."""
        return reachable_programs()

    def new_database(self, template: str = TEMPLATE) -> str:
        """Make a database that nothing is stored in, and return its address."""
        self._databases += 1
        name = f"tests_{self._databases}"
        self.ask(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def bare_database(self) -> str:
        """Make a database without any table, and return its address."""
        return self.new_database("template0")

    def ask(self, sql: str, url: str = "") -> str:
        """Run SQL as the server's administrator, in the database at this address, and return what it gives."""
        database = url.rpartition("/")[2] or ADMIN
        return self._run("psql", "-XqAtv", "ON_ERROR_STOP=1", "-d", self.url(database, ADMIN), "-c", sql).strip()

    def isolate(self, url: str, level: str) -> None:
        """Give transactions in this database another isolation level where they ask for none, on new connections."""
        self.ask(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_isolation = '{level}'")

    def has_waiters(self) -> bool:
        """Return whether any statement waits for another one's transaction."""
        return self.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != "0"

    def file(self, name: str, content: bytes) -> Path:
        """Put a file into its folder that nobody else may read."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        own(path)
        return path

    def initialise(self) -> None:
        """Make everything anew that a server begins with, and start it. Only the first one needs that."""
        own(self.folder)
        self._run("initdb", "-D", "data", "-U", ADMIN, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync")
        (self.folder / "data" / "pg_hba.conf").write_text(WHO_MAY_COME_IN)
        self.start()
        quoted = PASSWORD.replace("'", "''")
        self.ask(f"CREATE ROLE {OWNER} LOGIN; CREATE ROLE {GUARDED} LOGIN PASSWORD '{quoted}' IN ROLE {OWNER}")
        self.ask(f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
        asyncio.run(migrate(self.url(TEMPLATE)))

    def _take_data(self) -> None:
        own(self.folder)
        if self._primary is None:
            subprocess.run(["/bin/cp", "-R", initialised_data(), "data"], cwd=self.folder, check=True, **self._user)
        else:
            source = self._primary.url(ADMIN, ADMIN)
            self._run("pg_basebackup", "-d", source, "-D", "data", "-R", "--checkpoint=fast", "--no-sync")

    def _halt(self) -> list[int]:
        """Let all its processes stand still, and return them."""
        (number, *_) = (self.folder / "data" / "postmaster.pid").read_text().split()
        postmaster = int(number)
        os.kill(postmaster, signal.SIGSTOP)
        while state_of(postmaster) != STANDS_STILL:  # from then on it has no more children
            time.sleep(0.001)
        children = map(int, Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split())
        processes = [*children, postmaster]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        return processes

    def _is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            words = (self.folder / "data" / "postmaster.pid").read_text().split()
            # One that was killed has left this file, and is ready for ever by it.
            return words[-1:] in (["ready"], ["standby"]) and state_of(int(words[0])) != ENDED
        return False

    def _run(self, program: str, *arguments: str) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@cache
def initialised_data() -> Path:
    """Return the data that every server begins with: its users, and a database at the newest schema."""
    data = lasting_folder(in_memory()) / "data"
    server = PostgreSQLServer()
    try:
        server.initialise()
        server.stop()
        shutil.move(server.folder / "data", data)
    finally:
        server.__exit__()
    own(data.parent)
    return data


def state_of(process: int) -> str:
    """Return what a process does, by the letter that Linux has for it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    return ENDED


def free_port() -> int:
    """Return a port that nobody listens on."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - any will do
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


async def migrate(url: str) -> None:
    """Bring a database to the newest schema."""
    database = await open_database(url)
    await database.close()
