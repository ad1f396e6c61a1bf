"""GET one sprocket from PostgreSQL: what a request costs the processor, in the service and in PostgreSQL together.

The product and the bare limit, with and without the reset of the pool, read the same rows of the same server, and are
asked in turn. What counts is the sum: a statement that saves the service time and costs PostgreSQL more is no gain.
Exits with 1 if the target is missed.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
from rich.table import Table

from benchmarks.contenders import (
    Contender,
    get_sprockets,
    list_sprocket_paths,
    post_sprockets,
    serve_baseline,
    serve_product,
)
from benchmarks.load import Load, count_answers, find_rate
from benchmarks.postgresql import Cluster, run_cluster
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu

# How many times the processor time of the bare limit the product may take.
TARGET = 1.8
SPROCKETS = 60
WARM_UP = 1.0
BARE, LEAN = "bare_postgresql", "lean_postgresql"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one contender. Seconds of processor time per request, of each whole process tree."""

    service: float
    postgresql: float
    load: Load

    @property
    def both(self) -> float:
        """What a request costs in all."""
        return self.service + self.postgresql


def measure_round(
    cluster: Cluster, contender: Contender, paths: Sequence[str], connections: int, seconds: float
) -> Round:
    """Ask for single sprockets and divide the processor time that it took by the answers.

    What PostgreSQL does in the background meanwhile counts as well; the other contenders' connections are idle.
    """
    before = [measure_cpu(pid) for pid in (contender.server.pid, cluster.pid)]
    load = get_sprockets(contender, paths, connections, seconds)
    service, postgresql = (
        (measure_cpu(pid) - taken) / count_answers(load)
        for pid, taken in zip((contender.server.pid, cluster.pid), before, strict=True)
    )
    return Round(service=service, postgresql=postgresql, load=load)


def print_rounds(rounds: dict[str, list[Round]]) -> float:
    """Print the best round of each contender, and return how many times the bare limit the product took."""
    best = {name: min(measured, key=lambda one: one.both) for name, measured in rounds.items()}
    table = Table(
        "", "µs CPU", "of each round", "service", "PostgreSQL", "requests/s", "p50 µs", "p99 µs", "to bare", "to lean"
    )
    for name, one in best.items():
        table.add_row(
            name.partition("_")[0],
            f"{one.both * 1e6:.1f}",
            " ".join(f"{each.both * 1e6:.1f}" for each in rounds[name]),
            f"{one.service * 1e6:.1f}",
            f"{one.postgresql * 1e6:.1f}",
            f"{find_rate(one.load):,.0f}",
            *(f"{latency * 1e6:,.0f}" for latency in (one.load.p50, one.load.p99)),
            *(f"{one.both / best[baseline].both:.2f}" for baseline in (BARE, LEAN)),
        )
    console.print(table)
    least = {name: min(one.service for one in measured) for name, measured in rounds.items()}
    ratios = [f"{least['product'] / least[baseline]:.2f} times {baseline[:4]}" for baseline in (BARE, LEAN)]
    console.print(f"no target: in the service's own process {' and '.join(ratios)}")
    return best["product"].both / best[BARE].both


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one sprocket from PostgreSQL: processor time per request, product against bare limit.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("GET one sprocket from PostgreSQL", folder)
        cluster = stack.enter_context(run_cluster(folder))
        console.print(f"PostgreSQL {asyncio.run(cluster.run('CREATE DATABASE product', 'SHOW server_version'))}")
        address = cluster.address("product")
        # The product first: it makes the table that the others read.
        contenders = [stack.enter_context(serve_product(folder, address))]
        contenders += [stack.enter_context(serve_baseline(name, folder, address)) for name in (BARE, LEAN)]
        rounds: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
        post_sprockets(contenders[0], 1, requests=SPROCKETS)
        paths = list_sprocket_paths(contenders[0])
        with show_progress() as progress:
            task = progress.add_task("rounds", total=options.rounds * len(contenders))
            for contender in contenders:
                measure_round(cluster, contender, paths, options.connections, WARM_UP)
            for _ in range(options.rounds):
                for contender in contenders:
                    one = measure_round(cluster, contender, paths, options.connections, options.seconds)
                    rounds[contender.name].append(one)
                    progress.advance(task)
    ratio = print_rounds(rounds)
    return print_verdict(f"{ratio:.2f} times bare, at most {TARGET}", holds=ratio <= TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
