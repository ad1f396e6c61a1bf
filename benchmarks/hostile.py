"""GET single sprockets while 500 clients take their time and somebody tries 1,000 wrong keys a second.

The others are measured in turn alone and amid the trouble, which begins anew each time: what else happens on the
machine falls on both, and the median of the pairs counts. Exits with 1 if the slowest hundredth of their answers amid
the trouble takes twice as long as alone, if any of them is refused, or if a wrong key is not.
"""

import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from benchmarks.servers import watch_memory

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


@contextmanager
def trouble_of(product: Contender, key: str, troubles: list[Trouble]) -> Iterator[None]:
    """Let slow clients carry this key and others guess, and note what came of it; begin when they are only slow."""
    attackers = start_attackers(product.server.port, key)
    try:
        time.sleep(SETTLED)
        yield
    finally:
        attackers.terminate()
        output, _ = attackers.communicate()
    troubles.append(msgspec.json.decode(output, type=Trouble))
    time.sleep(WARM_UP)  # until the server has let go of them


def print_loads(loads: dict[str, list[Load]]) -> float:
    """Print how the others fared, and return how many times as long the slowest hundredth took amid the trouble."""
    table = Table(f"{OTHERS} others", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms")
    for name, measured in loads.items():
        for load in measured:
            latencies = (f"{latency * 1e3:.2f}" for latency in (load.p50, load.p99, load.p999, load.longest))
            table.add_row(name, f"{find_rate(load):,.0f}", *latencies)
    console.print(table)
    pairs = zip(loads["alone"], loads["amid"], strict=True)
    return statistics.median(amid.p99 / alone.p99 for alone, amid in pairs)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser(f"GET single sprockets amid {SLOW} slow clients and {WRONG_KEYS:,} wrong keys a second.")
    parser.add_argument("--rounds", type=int, default=5, help="alone, and as many amid the trouble")
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
            alone: list[Load] = []
            amid: list[Load] = []
            troubles: list[Trouble] = []
            with watch_memory(product.server.pid) as memory:
                for _ in range(options.rounds):
                    alone.append(get_once())
                    with trouble_of(product, keys[1], troubles):
                        amid.append(get_once())
    ratio = print_loads({"alone": alone, "amid": amid})
    guesses = sum((Counter(trouble.guesses) for trouble in troubles), Counter())
    rate = guesses.total() / sum(trouble.seconds for trouble in troubles)
    console.print(f"wrong keys: {rate:,.0f} a second, answered with {dict(guesses)}")
    cut_off = sum((Counter(trouble.cut_off) for trouble in troubles), Counter())
    console.print(f"slow clients that were cut off and came back: {dict(cut_off)}")
    console.print(f"resident memory grew by {(memory.peak - memory.before) / 2**20:.1f} MiB")
    came = print_verdict(f"{rate:,.0f} wrong keys a second, all refused", holds=_all_refused(guesses, rate))
    return max(came, print_verdict(f"p99 {ratio:.2f} times the one alone, less than {TARGET}", holds=ratio < TARGET))


def _all_refused(guesses: Counter[int], rate: float) -> bool:
    return guesses.keys() <= {401, 429} and rate >= SENT * WRONG_KEYS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
