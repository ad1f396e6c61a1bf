"""GET single sprockets while 500 clients take their time and somebody tries 1,000 wrong keys a second.

The others are measured several times, alone and amid the trouble, and the median counts: what else happens on the
machine falls on both. Exits with 1 if the slowest hundredth of their answers amid the trouble takes twice as long as
alone, if any of them is refused, or if a wrong key is not.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from rich.table import Table

from benchmarks.attackers import Trouble
from benchmarks.contenders import (
    Contender,
    get_sprockets,
    list_sprocket_paths,
    make_key,
    migrate_product,
    serve_product,
)
from benchmarks.filling import Factory, Stock, fill_sqlite
from benchmarks.load import ROOT, STARTED, Load, find_rate
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict
from benchmarks.servers import Memory, watch_memory

# How many times its idle p99 the others' may be.
TARGET = 2.0
# Connections of the others, each asking again as soon as it is answered.
OTHERS = 4
SLOW = 500
WRONG_KEYS = 1000
# Long lists, so that slow readers have something to be slow about.
STOCK = Stock([Factory(number, 10_000) for number in range(1, 11)], sprockets=60)
WARM_UP = 1.0
# Seconds from which on slow clients are only slow: what they ask for at first costs as much as if they were not.
SETTLED = 5.0
# Share of the wrong keys a second that have to be answered: what the attackers cannot send measures nothing.
SENT = 0.9


def start_attackers(port: int, key: str) -> "subprocess.Popen[str]":
    """Start to trouble a server from another process, and return when all its connections stand."""
    argv = [sys.executable, "-m", "benchmarks.attackers", "--port", str(port), "--key", key]
    argv += ["--slow", str(SLOW), "--rate", str(WRONG_KEYS)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline() if process.stdout else ""
    if first.strip() != STARTED:
        raise RuntimeError(f"The attackers could not start; they ended with {process.wait()}.")
    return process


def get_amid_trouble(
    get_once: Callable[[], Load], product: Contender, key: str, rounds: int
) -> tuple[list[Load], Trouble, Memory]:
    """Ask for single sprockets while slow clients carry this key."""
    with watch_memory(product.server.pid) as memory:
        attackers = start_attackers(product.server.port, key)
        try:
            time.sleep(SETTLED)
            loads = [get_once() for _ in range(rounds)]
        finally:
            attackers.terminate()
        output, _ = attackers.communicate()
    return loads, msgspec.json.decode(output, type=Trouble), memory


def print_loads(loads: dict[str, list[Load]]) -> float:
    """Print how the others fared, and return how many times as long the slowest hundredth took amid the trouble."""
    table = Table(f"{OTHERS} others", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms")
    for name, measured in loads.items():
        for load in measured:
            latencies = (f"{latency * 1e3:.2f}" for latency in (load.p50, load.p99, load.p999, load.longest))
            table.add_row(name, f"{find_rate(load):,.0f}", *latencies)
    console.print(table)
    alone, amid = (statistics.median(load.p99 for load in measured) for measured in loads.values())
    return amid / alone


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser(f"GET single sprockets amid {SLOW} slow clients and {WRONG_KEYS:,} wrong keys a second.")
    parser.add_argument("--rounds", type=int, default=4, help="amid the trouble, and half of them before and after it")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("Hostile clients", folder)
        file = folder / "product.db"
        migrate_product(folder, f"sqlite:///{file}")
        fill_sqlite(file, STOCK)
        keys = (make_key(folder, "viewer"), make_key(folder, "operator"))
        with serve_product(folder) as product:
            paths = list_sprocket_paths(product)
            get_sprockets(product, paths, OTHERS, WARM_UP, keys[0])
            get_once = partial(get_sprockets, product, paths, OTHERS, options.seconds, keys[0])
            alone = [get_once() for _ in range(options.rounds // 2)]
            amid, trouble, memory = get_amid_trouble(get_once, product, keys[1], options.rounds)
            alone += [get_once() for _ in range(options.rounds // 2)]
    ratio = print_loads({"alone": alone, "amid": amid})
    rate = sum(trouble.guesses.values()) / trouble.seconds
    console.print(f"wrong keys: {rate:,.0f} a second, answered with {trouble.guesses}")
    console.print(f"slow clients that were cut off and came back: {trouble.cut_off}")
    console.print(f"resident memory grew by {(memory.peak - memory.before) / 2**20:.1f} MiB")
    came = print_verdict(f"{rate:,.0f} wrong keys a second, all refused", holds=_all_refused(trouble, rate))
    return max(came, print_verdict(f"p99 {ratio:.2f} times the one alone, less than {TARGET}", holds=ratio < TARGET))


def _all_refused(trouble: Trouble, rate: float) -> bool:
    return trouble.guesses.keys() <= {401, 429} and rate >= SENT * WRONG_KEYS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
