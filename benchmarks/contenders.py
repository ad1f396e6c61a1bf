"""What is compared, the product and the baselines, each as it is started, filled and asked."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from benchmarks.load import ROOT, Load, finish_load, start_load
from benchmarks.servers import Server, measure_cpu, serve

SPROCKETS_PATH = "/sprocketFactory/v1/sprockets"
SPROCKET = '{"teeth":20,"pitch_diameter":162.37,"outside_diameter":175.61,"pitch":25.4}'


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A running server, with the file that it stores in, or the address of its database on PostgreSQL.

    It is asked with `key`, if there is one. What the process tree of `beside` takes, PostgreSQL's, counts as its own.
    `one` is the path of one sprocket, with its id as `{}`, `all` that of the whole catalogue. One that is not `whole`
    does nothing but read sprockets.
    """

    name: str
    server: Server
    database: Path | str
    key: str = ""
    beside: int = 0
    one: str = SPROCKETS_PATH + "/{}"
    all: str = SPROCKETS_PATH
    whole: bool = True


def measure_processor(contender: Contender) -> float:
    """Return the processor time in seconds that a contender has taken, all its processes together."""
    return measure_cpu(contender.server.pid) + (measure_cpu(contender.beside) if contender.beside else 0.0)


def build_environment() -> dict[str, str]:
    """Return the caller's environment with this checkout importable.

    Settings of the product are left out, so that its defaults are what is measured.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPROCKET_FACTORY_")}
    paths = [str(ROOT / "src"), str(ROOT), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


@contextmanager
def serve_baseline(name: str, folder: Path, database: Path | str | None = None) -> Iterator[Contender]:
    """Run the program of this name in `baselines/`, unless told otherwise on a file of its own in this folder."""
    database = database or folder / f"{name}.db"

    def argv_for(port: int) -> Sequence[str]:
        return [sys.executable, "-m", f"benchmarks.baselines.{name}", "--port", str(port), "--database", str(database)]

    with serve(argv_for, build_environment(), folder, SPROCKETS_PATH) as server:
        yield Contender(name=name, server=server, database=database)


@contextmanager
def serve_product(folder: Path, address: str = "") -> Iterator[Contender]:
    """Run the product as an operator would, under its default settings; but callers need no key.

    It stores in the PostgreSQL database at this address, or else in `product.db` in this folder.
    """
    database = folder / "product.db"

    def argv_for(port: int) -> Sequence[str]:
        command = [sys.executable, "-m", "sprocket_factory", "serve"]
        url = address or f"sqlite:///{database}"
        return [*command, "--port", str(port), "--database-url", url, "--anonymous-role", "engineer"]

    with serve(argv_for, build_environment(), folder, SPROCKETS_PATH) as server:
        yield Contender(name="product", server=server, database=address or database)


def migrate_product(folder: Path, address: str) -> None:
    """Let the product make the tables of the database at this address. Raises CalledProcessError if it refuses."""
    argv = [sys.executable, "-m", "sprocket_factory", "migrate", "--database-url", address]
    subprocess.run(argv, check=True, env=build_environment(), cwd=folder, capture_output=True)


def make_key(folder: Path, role: str, address: str = "") -> str:
    """Make a key of this role and return it. Raises RuntimeError if that is refused.

    It is for the PostgreSQL database at this address, or else for `product.db` in this folder.
    """
    command = [sys.executable, "-m", "sprocket_factory", "key", "add", f"the {role}", "--role", role]
    argv = [*command, "--database-url", address or f"sqlite:///{folder / 'product.db'}"]
    done = subprocess.run(argv, check=False, env=build_environment(), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"key add ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.split()[-1]


def list_sprocket_paths(contender: Contender) -> list[str]:
    """Return the path of every sprocket there is."""
    url = f"http://127.0.0.1:{contender.server.port}{SPROCKETS_PATH}"
    with urllib.request.urlopen(url) as answer:
        return [f"{SPROCKETS_PATH}/{sprocket['id']}" for sprocket in msgspec.json.decode(answer.read())]


def count_rows(contender: Contender, table: str) -> int:
    """Return how many rows a table of the contender's file holds, by a connection that can only read."""
    connection = apsw.Connection(str(contender.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows: int = connection.execute(f"SELECT count(*) FROM {table}").get
        return rows
    finally:
        connection.close()


def get_sprockets(contender: Contender, paths: Sequence[str], connections: int, seconds: float, key: str = "") -> Load:
    """Ask for single sprockets on so many connections for so many seconds, with this key if there is one."""
    options = ["--connections", str(connections), "--seconds", str(seconds), "--key", key]
    return finish_load(start_load(contender.server.port, paths, *options))


def post_sprockets(contender: Contender, connections: int, *, seconds: float = 3600, requests: float = 1e12) -> Load:
    """Add sprockets on so many connections, for so many seconds or until so many are stored."""
    options = ["--method", "POST", "--body", SPROCKET, "--connections", str(connections)]
    options += ["--seconds", str(seconds), "--requests", str(requests)]
    return finish_load(start_load(contender.server.port, [SPROCKETS_PATH], *options))
