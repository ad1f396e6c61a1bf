"""What the scripts share towards the person who runs them: options, folder, machine, progress and verdict."""

import argparse
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PACKAGES = ("uvicorn", "uvloop", "httptools", "msgspec", "litestar", "asyncpg")
IN_MEMORY = ("tmpfs", "ramfs")
OUTCOMES = {True: "[green]holds[/]", False: "[red]missed[/]", None: "[yellow]not measured with --quick[/]"}

# Into a file or a pipe the tables go at a width that breaks no cell.
console = Console(width=None if sys.stdout.isatty() else 120)


def build_parser(what: str) -> argparse.ArgumentParser:
    """Return a parser of the options that every script has."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".benchmarks"),
        help="where the databases go; on a real disk, since every commit waits for it (default: %(default)s)",
    )
    return parser


def find_file_system(folder: Path) -> str:
    """Return the type of the file system that a folder lies on, such as ext4."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    # The longest mount point is the innermost; of equal ones the last mounted covers the others.
    return max(reversed(above), key=lambda mount: len(mount[0]))[1]


@contextmanager
def make_folder(inside: Path) -> Iterator[Path]:
    """Make a folder for one run, removed at the end of the block. Exits where a sync of the disk would cost nothing.

    SIGTERM ends the block as an exception does, so that no server is left behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    inside.mkdir(parents=True, exist_ok=True)
    if find_file_system(inside) in IN_MEMORY:
        raise SystemExit(f"{inside} lies in memory, where a durable write costs nothing: use --folder.")
    with tempfile.TemporaryDirectory(dir=inside.resolve()) as folder:
        # The product looks for a .env upwards from where it runs, and is to find no settings of the checkout around it.
        Path(folder, ".env").touch()
        yield Path(folder)


def measure_sync(folder: Path, times: int = 200) -> float:
    """Return the median time in seconds to append 4 KiB to a file and sync it: the least that a commit can take."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(times):
            started_at = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started_at)
    return statistics.median(taken)


def find_processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def list_versions() -> str:
    """Return the versions of what takes part, as one line."""
    parts = [f"{platform.python_implementation()} {platform.python_version()}", f"SQLite {apsw.sqlite_lib_version()}"]
    for package in PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def describe_machine() -> str:
    """Return what this machine is."""
    return f"{len(os.sched_getaffinity(0))} cores of {find_processor()}, Linux {platform.release()}"


def print_heading(title: str, folder: Path) -> None:
    """Print what is measured and on what: without it the figures say nothing."""
    console.rule(title)
    console.print(list_versions())
    console.print(f"{describe_machine()}, load average {os.getloadavg()[0]:.2f}")
    console.print(f"{find_file_system(folder)}, a sync of 4 KiB takes {measure_sync(folder) * 1e6:.0f} µs")


def show_progress() -> Progress:
    """Return a progress bar for the error output, drawn rarely: what draws it is measured beside."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    drawn = Console(stderr=True)
    return Progress(*columns, console=drawn, transient=True, refresh_per_second=2, disable=not drawn.is_terminal)


class Target(msgspec.Struct, frozen=True):
    """Something that is to hold, with its figure, and whether it does: None if the run did not measure it."""

    what: str
    holds: bool | None

    @property
    def outcome(self) -> str:
        """What is printed of it."""
        return OUTCOMES[self.holds]


# Every verdict of this process, in order, for the list at the end of a run.
VERDICTS: list[Target] = []


def print_verdict(target: str, *, holds: bool | None) -> int:
    """Print and note whether a target holds, None if --quick left it out, and return the exit code."""
    verdict = Target(target, holds)
    VERDICTS.append(verdict)
    console.print(f"{verdict.outcome}: {escape(target)}")
    return 1 if holds is False else 0


def print_closing(verdicts_of: Mapping[str, Sequence[Target]]) -> None:
    """Print every target of a run with its figure, by the script that looked at it, and how many hold."""
    table = Table("", "target", "", title="every target of this run")
    for script, verdicts in verdicts_of.items():
        for verdict in verdicts:
            table.add_row(script, escape(verdict.what), verdict.outcome)
        table.add_section()
    console.print(table)
    counts = Counter(verdict.outcome for verdicts in verdicts_of.values() for verdict in verdicts)
    console.print(", ".join(f"{outcome}: {counts[outcome]}" for outcome in OUTCOMES.values() if counts[outcome]))
