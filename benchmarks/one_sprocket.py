"""GET one sprocket: what a request costs the product's processor, against the bare limit.

Both run at once, and are asked in turn, so that what else happens on the machine falls on both. Of each the round that
cost least is reported: noise only ever adds. Exits with 1 if the target is missed.
"""

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
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu

# How many times the processor time of the bare limit the product may take.
TARGET = 2.5
SPROCKETS = 60
WARM_UP = 1.0


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one contender. `cpu` is in seconds per request, of the server's whole process tree."""

    cpu: float
    load: Load


def measure_round(contender: Contender, paths: Sequence[str], connections: int, seconds: float) -> Round:
    """Ask for single sprockets and divide the processor time that it took by the answers."""
    before = measure_cpu(contender.server.pid)
    load = get_sprockets(contender, paths, connections, seconds)
    return Round(cpu=(measure_cpu(contender.server.pid) - before) / count_answers(load), load=load)


def print_rounds(rounds: dict[str, list[Round]]) -> float:
    """Print the best round of each contender, and return how many times the bare limit the product took."""
    best = {name: min(measured, key=lambda one: one.cpu) for name, measured in rounds.items()}
    table = Table("", "µs CPU", "of each round", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "to bare")
    for name, one in best.items():
        table.add_row(
            name,
            f"{one.cpu * 1e6:.1f}",
            " ".join(f"{each.cpu * 1e6:.1f}" for each in rounds[name]),
            f"{find_rate(one.load):,.0f}",
            *(f"{latency * 1e6:,.0f}" for latency in (one.load.p50, one.load.p99, one.load.p999)),
            f"{one.cpu / best['bare'].cpu:.2f}",
        )
    console.print(table)
    return best["product"].cpu / best["bare"].cpu


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one sprocket: processor time per request, product against bare limit.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("GET one sprocket", folder)
        contenders = [stack.enter_context(serve_baseline("bare", folder)), stack.enter_context(serve_product(folder))]
        rounds: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
        with show_progress() as progress:
            task = progress.add_task("rounds", total=options.rounds * len(contenders))
            paths = {}
            for contender in contenders:
                post_sprockets(contender, 1, requests=SPROCKETS)
                paths[contender.name] = list_sprocket_paths(contender)
                measure_round(contender, paths[contender.name], options.connections, WARM_UP)
            for _ in range(options.rounds):
                for contender in contenders:
                    one = measure_round(contender, paths[contender.name], options.connections, options.seconds)
                    rounds[contender.name].append(one)
                    progress.advance(task)
    ratio = print_rounds(rounds)
    return print_verdict(f"{ratio:.2f} times bare, at most {TARGET}", holds=ratio <= TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
