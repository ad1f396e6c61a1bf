"""GET single sprockets while 500 clients take their time and somebody tries 1,000 wrong keys a second.

The others are measured in turn alone and amid the trouble, which begins anew each time: what else happens on the
machine falls on both, and the median of the pairs counts. Exits with 1 if the slowest hundredth of their answers amid
the trouble takes twice as long as alone, if any of them is refused, if a wrong key is not, or if not all of the slow
clients are slow until the end, because the server does not put up with them.
"""

import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from benchmarks.report import Target, build_parser, console, make_folder, print_heading, print_verdict
from benchmarks.servers import Memory, watch_memory

# How many times its idle p99 the others' may be.
TARGET = 2.0
# Connections of the others, each asking again as soon as it is answered.
OTHERS = 4
SLOW = 500
WRONG_KEYS = 1000
# Alone, and as many amid the trouble; and the seconds of each.
ROUNDS = 5
SECONDS = 4.0
# Long lists, so that slow readers have something to be slow about.
STOCK = Stock([Factory(number, 10_000) for number in range(1, 11)], sprockets=60)
WARM_UP = 1.0
# Seconds from which on those who guess are told to wait: an address may be wrong a few times.
SETTLED = 2.0
# Share of the wrong keys a second that have to be answered: what the attackers cannot send measures nothing.
SENT = 0.9


def tell(counts: Mapping[Any, int]) -> str:
    """Return counts as text."""
    return ", ".join(f"{what}: {count:,}" for what, count in counts.items()) or "none"


class Measurement(NamedTuple):
    """What was measured: the others alone and amid the trouble in pairs, what came of each trouble, and memory."""

    alone: list[Load]
    amid: list[Load]
    troubles: list[Trouble]
    memory: Memory

    @property
    def ratio(self) -> float:
        """How many times as long the slowest hundredth of the others' answers took amid the trouble."""
        return statistics.median(amid.p99 / alone.p99 for alone, amid in zip(self.alone, self.amid, strict=True))

    @property
    def guesses(self) -> "Counter[int]":
        """The answers to wrong keys, by status."""
        return sum((Counter(trouble.guesses) for trouble in self.troubles), Counter())

    @property
    def guessing_rate(self) -> float:
        """Wrong keys that were answered, a second."""
        return self.guesses.total() / sum(trouble.seconds for trouble in self.troubles)

    @property
    def slow(self) -> dict[str, int]:
        """How many of each kind were slow until the end, in the round with the fewest."""
        return min((trouble.slow for trouble in self.troubles), key=lambda slow: sum(slow.values()))

    @property
    def cut_off(self) -> "Counter[str]":
        """How often a slow client of each kind was cut off and came back."""
        return sum((Counter(trouble.cut_off) for trouble in self.troubles), Counter())

    def figures(self) -> dict[str, str]:
        """Return what is to be read beside the verdicts, by name."""
        return {
            "wrong keys": f"{self.guessing_rate:,.0f} a second, answered with {tell(self.guesses)}",
            "slow until the end": tell(self.slow),
            "cut off and came back": tell(self.cut_off),
            "resident memory grew by": f"{(self.memory.peak - self.memory.before) / 2**20:.1f} MiB",
        }

    def targets(self) -> list[Target]:
        """Return what is to hold."""
        are_refused = self.guesses.keys() <= {401, 429} and self.guessing_rate >= SENT * WRONG_KEYS
        slow = sum(self.slow.values())
        return [
            Target(f"{self.guessing_rate:,.0f} wrong keys a second, all refused", are_refused),
            Target(f"{slow} of {SLOW} slow clients were slow until the end", slow == SLOW),
            Target(f"p99 {self.ratio:.2f} times the one alone, less than {TARGET}", self.ratio < TARGET),
        ]


def start_attackers(port: int, key: str) -> "subprocess.Popen[str]":
    """Start to trouble a server from another process, and return when all its slow clients are slow."""
    argv = [sys.executable, "-m", "benchmarks.attackers", "--port", str(port), "--key", key]
    argv += ["--slow", str(SLOW), "--rate", str(WRONG_KEYS)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline() if process.stdout else ""
    if first.strip() != STARTED:
        raise RuntimeError(f"The attackers could not start; they ended with {process.wait()}.")
    return process


@contextmanager
def trouble_of(product: Contender, key: str, troubles: list[Trouble]) -> Iterator[None]:
    """Let slow clients carry this key and others guess, and note what came of it; begin when that goes its way."""
    attackers = start_attackers(product.server.port, key)
    try:
        time.sleep(SETTLED)
        yield
    finally:
        attackers.terminate()
        output, _ = attackers.communicate()
    troubles.append(msgspec.json.decode(output, type=Trouble))
    time.sleep(WARM_UP)  # until the server has let go of them


def measure(folder: Path, rounds: int = ROUNDS, seconds: float = SECONDS) -> Measurement:
    """Measure in a folder made for this, alone and amid the trouble in turn. Raises RuntimeError if one is refused."""
    file = folder / "product.db"
    migrate_product(folder, f"sqlite:///{file}")
    fill_sqlite(file, STOCK)
    keys = (make_key(folder, "viewer"), make_key(folder, "operator"))
    with serve_product(folder) as product:
        paths = list_sprocket_paths(product)
        get_sprockets(product, paths, OTHERS, WARM_UP, keys[0])
        get_once = partial(get_sprockets, product, paths, OTHERS, seconds, keys[0])
        alone: list[Load] = []
        amid: list[Load] = []
        troubles: list[Trouble] = []
        with watch_memory(product.server.pid) as memory:
            for _ in range(rounds):
                alone.append(get_once())
                with trouble_of(product, keys[1], troubles):
                    amid.append(get_once())
    return Measurement(alone, amid, troubles, memory)


def print_loads(measurement: Measurement) -> None:
    """Print how the others fared."""
    table = Table(f"{OTHERS} others", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms")
    for name, measured in (("alone", measurement.alone), ("amid", measurement.amid)):
        for load in measured:
            latencies = (f"{latency * 1e3:.2f}" for latency in (load.p50, load.p99, load.p999, load.longest))
            table.add_row(name, f"{find_rate(load):,.0f}", *latencies)
    console.print(table)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser(f"GET single sprockets amid {SLOW} slow clients and {WRONG_KEYS:,} wrong keys a second.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="alone, and as many amid the trouble")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each round")
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("Hostile clients", folder)
        measurement = measure(folder, options.rounds, options.seconds)
    print_loads(measurement)
    for name, figure in measurement.figures().items():
        console.print(f"{name}: {figure}")
    return max(print_verdict(target.what, holds=target.holds) for target in measurement.targets())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
