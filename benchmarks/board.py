"""What the board's first page costs on the demo: time on the server, and bytes over the wire with all that it loads.

Exits with 1 if a target is missed.
"""

import http.client
import re
import statistics
import sys
import time
from collections.abc import Sequence

from rich.table import Table

from benchmarks.contenders import build_environment
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict
from benchmarks.servers import measure_cpu, serve

TARGET_MS = 50
TARGET_BYTES = 100_000
TIMES = 100
# What a page loads, and the suffixes of what it cannot be without.
LOADED = re.compile(rb'(?:src|rel="stylesheet" href|svg\+xml" href)="(/board/files/[^"]*)"')
SUFFIXES = (".css", ".js")

Timing = tuple[float, float]


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    options = build_parser("The first page of the board, on the demo.").parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("The board's first page", folder)

        def demo(port: int) -> list[str]:
            return [sys.executable, "-m", "sprocket_factory", "demo", "--port", str(port)]

        with serve(demo, build_environment(), folder, "/") as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            sizes = weigh(connection, "/")
            seconds, cpu = time_page(connection, "/", server.pid)
    table = Table("", "bytes")
    for path, size in sizes.items():
        table.add_row(path, f"{size:,}")
    console.print(table)
    total = sum(sizes.values())
    return max(
        print_verdict(
            f"{seconds * 1e3:.1f} ms a page (median), {cpu * 1e3:.1f} ms of CPU, under {TARGET_MS}",
            holds=seconds * 1e3 < TARGET_MS,
        ),
        print_verdict(f"{total:,} bytes, under {TARGET_BYTES:,}", holds=total < TARGET_BYTES),
    )


def weigh(connection: http.client.HTTPConnection, path: str) -> dict[str, int]:
    """Return the bytes of a page and of everything that it loads, heads included, by path.

    Raises RuntimeError if any is not answered with 200, or if no stylesheet or no script is found in the page.
    """
    head, body = _get(connection, path)
    sizes = {path: head + len(body)}
    for other in dict.fromkeys(LOADED.findall(body)):
        head, loaded = _get(connection, other.decode())
        sizes[other.decode()] = head + len(loaded)
    if missing := [suffix for suffix in SUFFIXES if not any(each.endswith(suffix) for each in sizes)]:
        raise RuntimeError(f"{path} loads no {' and no '.join(missing)}: {list(sizes)}.")
    return sizes


def time_page(connection: http.client.HTTPConnection, path: str, pid: int) -> Timing:
    """Return the median seconds of one page after the other, and the CPU seconds of each."""
    taken = []
    before = measure_cpu(pid)
    for _ in range(TIMES):
        started_at = time.perf_counter()
        _get(connection, path)
        taken.append(time.perf_counter() - started_at)
    return statistics.median(taken), (measure_cpu(pid) - before) / TIMES


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET {path} was answered with {answer.status}: {body[:1000]!r}")
    return sum(len(name) + len(value) + 4 for name, value in answer.getheaders()), body


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
