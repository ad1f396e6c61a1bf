"""How long the product takes from its start to its first answer, and how much memory it has while nobody asks.

The database is there already and the files of the program are in the page cache. Of several starts the shortest counts:
noise only ever adds. Exits with 1 if a target is missed.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.contenders import build_environment
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import answers, find_free_port, measure_memory, stop

TARGET_SECONDS = 0.7
TARGET_BYTES = 90e6
IDLE_SECONDS = 1.0
PATH = "/health/ready"


def measure_start(folder: Path) -> tuple[float, int]:
    """Start the product; return the seconds until it answered, and the bytes that it has after a while."""
    port = find_free_port()
    url = f"sqlite:///{folder / 'product.db'}"
    argv = [sys.executable, "-m", "sprocket_factory", "serve", "--port", str(port), "--database-url", url]
    with (folder / "server.log").open("ab") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, env=build_environment(), cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not answers(port, PATH):
                time.sleep(0.002)
            seconds = time.perf_counter() - started
            time.sleep(IDLE_SECONDS)
            return seconds, measure_memory(process.pid)
        finally:
            stop(process)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("From the start to the first answer, and memory while idle.")
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("Starting", folder)
        measure_start(folder)  # makes the database, and compiles what is not compiled yet
        with show_progress() as progress:
            task = progress.add_task("starts", total=options.starts)
            starts = []
            for _ in range(options.starts):
                starts.append(measure_start(folder))
                progress.advance(task)
    table = Table("", "best", "of each start")
    seconds, sizes = [one for one, _ in starts], [size for _, size in starts]
    table.add_row("start to first answer, s", f"{min(seconds):.2f}", " ".join(f"{one:.2f}" for one in seconds))
    table.add_row("idle, MB", f"{min(sizes) / 1e6:.0f}", " ".join(f"{size / 1e6:.0f}" for size in sizes))
    console.print(table)
    return max(
        print_verdict(f"{min(seconds):.2f} s, under {TARGET_SECONDS}", holds=min(seconds) < TARGET_SECONDS),
        print_verdict(f"{max(sizes) / 1e6:.0f} MB, under {TARGET_BYTES / 1e6:.0f}", holds=max(sizes) < TARGET_BYTES),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
