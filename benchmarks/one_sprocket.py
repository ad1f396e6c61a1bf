"""GET one sprocket: what a request costs the product's processor, against the bare limit, and what a key adds.

All are asked in turn, so that what else happens on the machine falls on all of them. Of each the round that cost least
is reported: noise only ever adds. Exits with 1 if a target is missed.
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
    make_key,
    post_sprockets,
    serve_baseline,
    serve_product,
)
from benchmarks.load import Load, count_answers, find_rate
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu

# How many times the processor time of the bare limit the product may take.
TARGET = 2.5
# Seconds of processor time that a request with a key may take beyond one without.
KEY_TARGET = 15e-6
SPROCKETS = 60
WARM_UP = 1.0
WITH_KEY = "product, with a key"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one contender. `cpu` is in seconds per request, of the server's whole process tree."""

    cpu: float
    load: Load


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked for what, and with which key, if any."""

    contender: Contender
    paths: Sequence[str]
    key: str = ""


def measure_round(asked: Asked, connections: int, seconds: float) -> Round:
    """Ask for single sprockets and divide the processor time that it took by the answers."""
    contender = asked.contender
    before = measure_cpu(contender.server.pid)
    load = get_sprockets(contender, asked.paths, connections, seconds, asked.key)
    return Round(cpu=(measure_cpu(contender.server.pid) - before) / count_answers(load), load=load)


def print_rounds(rounds: dict[str, list[Round]]) -> dict[str, float]:
    """Print the best round of each, and return its processor time for a request."""
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
    return {name: one.cpu for name, one in best.items()}


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one sprocket: processor time per request, product against bare limit.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("GET one sprocket", folder)
        asked: dict[str, Asked] = {}
        for served in (serve_baseline("bare", folder), serve_product(folder)):
            contender = stack.enter_context(served)
            post_sprockets(contender, 1, requests=SPROCKETS)
            asked[contender.name] = Asked(contender=contender, paths=list_sprocket_paths(contender))
        asked[WITH_KEY] = msgspec.structs.replace(asked["product"], key=make_key(folder, "viewer"))
        rounds: dict[str, list[Round]] = {name: [] for name in asked}
        with show_progress() as progress:
            task = progress.add_task("rounds", total=options.rounds * len(asked))
            for one in asked.values():
                measure_round(one, options.connections, WARM_UP)
            for _ in range(options.rounds):
                for name, one in asked.items():
                    rounds[name].append(measure_round(one, options.connections, options.seconds))
                    progress.advance(task)
    cpu = print_rounds(rounds)
    ratio = cpu["product"] / cpu["bare"]
    key = cpu[WITH_KEY] - cpu["product"]
    missed = print_verdict(f"{ratio:.2f} times bare, at most {TARGET}", holds=ratio <= TARGET)
    told = f"a key costs {key * 1e6:.1f} µs of processor time, less than {KEY_TARGET * 1e6:.0f}"
    return max(missed, print_verdict(told, holds=key < KEY_TARGET))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
