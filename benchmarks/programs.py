"""The programs that a user would otherwise write or take, each as its community runs it.

They live in an environment of their own, `.venv-bench`, which `bin/bench` makes.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.contenders import SPROCKETS_PATH, Contender
from benchmarks.filling import SQLITE_TEXTS, Stock, fill_plain
from benchmarks.load import ROOT
from benchmarks.servers import serve

PROGRAMS = ROOT / ".venv-bench" / "bin"
BASELINES = ROOT / "benchmarks" / "baselines"
CORES = len(os.sched_getaffinity(0))
# Twice the cores and one more, as gunicorn's documents recommend; threads, for only with them connections stay open.
GUNICORN = ("gunicorn", "--workers", str(2 * CORES + 1), "--worker-class", "gthread", "--threads", "2")
GUNICORN_KEEPS = ("--keep-alive", "75", "--no-control-socket", "--bind", "127.0.0.1:{port}")
UVICORN = ("uvicorn", "--workers", str(CORES), "--no-access-log", "--port", "{port}")


class Program(NamedTuple):
    """How a program makes its tables, and how it is served; each begins with a command of `.venv-bench`.

    One that is tuned is told so.
    """

    tables: Sequence[str]
    serve: Sequence[str]
    is_tuned: bool = False


AS_FLASK = Program(("python", "flask_app.py"), (*GUNICORN, *GUNICORN_KEEPS, "flask_app:app"))

PROGRAM_OF = {
    "Flask": AS_FLASK,
    "tuned Flask": AS_FLASK._replace(is_tuned=True),
    "FastAPI": Program(("python", "fastapi_app.py"), (*UVICORN, "fastapi_app:app")),
    "Django REST": Program(
        ("django-admin", "migrate", "--run-syncdb"), (*GUNICORN, *GUNICORN_KEEPS, "django_app.wsgi")
    ),
}
DATASETTE = ("datasette", "serve", "--port", "{port}", "--setting", "suggest_facets", "off")


def build_program_environment(program: Program, file: Path) -> dict[str, str]:
    """Return the caller's environment with the programs, where the file of this one is, and whether it is tuned."""
    own = {"DATABASE": str(file), "PYTHONPATH": str(BASELINES), "DJANGO_SETTINGS_MODULE": "django_app.settings"}
    return {**os.environ, **own, "TUNED": "1" if program.is_tuned else ""}


def find_command(argv: Sequence[str], port: int = 0) -> list[str]:
    """Return a command of `.venv-bench` with its whole path and the port in it."""
    return [str(PROGRAMS / argv[0]), *(part.format(port=port) for part in argv[1:])]


@contextmanager
def serve_program(name: str, folder: Path, stock: Stock) -> Iterator[Contender]:
    """Run the program of this name, filled, to the end of the block."""
    program = PROGRAM_OF[name]
    file = folder / f"{name.replace(' ', '-').lower()}.db"
    environment = build_program_environment(program, file)
    # Inside the folder of the sources, so that what they import is found.
    subprocess.run(find_command(program.tables), check=True, cwd=BASELINES, env=environment, capture_output=True)
    fill_plain(file, stock, SQLITE_TEXTS)
    with serve(lambda port: find_command(program.serve, port), environment, folder, SPROCKETS_PATH) as server:
        yield Contender(name=name, server=server, database=file)


@contextmanager
def serve_datasette(file: Path, folder: Path) -> Iterator[Contender]:
    """Run Datasette over the file that another program stores in. It reads only."""
    one, everything = f"/{file.stem}/sprockets/{{}}.json?_shape=array", f"/{file.stem}/sprockets.json?_shape=array"
    with serve(lambda port: [*find_command(DATASETTE, port), str(file)], os.environ, folder, everything) as server:
        yield Contender(name="Datasette", server=server, database=file, one=one, all=everything, whole=False)
