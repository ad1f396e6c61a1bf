"""POST sprockets: how many a second are answered after they are safe on the disk, against the bare limit.

Both run at once and write in turn, each round on so many connections; of each the best round is reported. After every
round the rows in the database are counted: a rate of answers for what is not stored is none. Exits with 1 if the target
is missed.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack

import apsw
from rich.table import Table

from benchmarks.contenders import Contender, post_sprockets, serve_bare, serve_product
from benchmarks.load import Load, count_answers, find_rate
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress

CONNECTIONS = (1, 16, 64)
# The product is to store 5,000 a second on 16 connections where bare stores 7,000, and elsewhere in proportion.
TARGET_CONNECTIONS = 16
TARGET = 5_000 / 7_000
WARM_UP = 200

Rounds = dict[tuple[str, int], list[Load]]


def count_sprockets(contender: Contender) -> int:
    """Return how many sprockets the database holds, by a connection that can only read."""
    connection = apsw.Connection(str(contender.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows: int = connection.execute("SELECT count(*) FROM sprockets").get
        return rows
    finally:
        connection.close()


def post_and_count(contender: Contender, connections: int, *, seconds: float = 3600, requests: float = 1e12) -> Load:
    """Post sprockets, and make sure that each answer is 201 and stands for one new row. Raises RuntimeError if not."""
    before = count_sprockets(contender)
    load = post_sprockets(contender, connections, seconds=seconds, requests=requests)
    stored = count_sprockets(contender) - before
    if {201: stored} != load.statuses:
        raise RuntimeError(f"{contender.name} stored {stored} sprockets and answered {load.statuses}.")
    return load


def print_rounds(rounds: Rounds) -> float:
    """Print the best round of each contender and number of connections; return the share of bare on 16 connections."""
    best = {key: max(measured, key=find_rate) for key, measured in rounds.items()}
    table = Table("on", "", "POST/s", "of each round", "p50 ms", "p99 ms", "p99.9 ms", "rows", "to bare")
    for (name, connections), load in best.items():
        table.add_row(
            str(connections),
            name,
            f"{find_rate(load):,.0f}",
            " ".join(f"{find_rate(each):,.0f}" for each in rounds[name, connections]),
            *(f"{latency * 1e3:.2f}" for latency in (load.p50, load.p99, load.p999)),
            f"{sum(map(count_answers, rounds[name, connections])):,}",
            f"{find_rate(load) / find_rate(best['bare', connections]):.2f}",
        )
    console.print(table)
    return find_rate(best["product", TARGET_CONNECTIONS]) / find_rate(best["bare", TARGET_CONNECTIONS])


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("POST sprockets: durable writes per second, product against bare limit.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    options = parser.parse_args(argv)
    rounds: Rounds = {}
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("POST sprockets", folder)
        contenders = [stack.enter_context(serve_bare(folder)), stack.enter_context(serve_product(folder))]
        with show_progress() as progress:
            task = progress.add_task("rounds", total=len(CONNECTIONS) * options.rounds * len(contenders))
            for contender in contenders:
                post_and_count(contender, TARGET_CONNECTIONS, requests=WARM_UP)
            for connections in CONNECTIONS:
                for _ in range(options.rounds):
                    for contender in contenders:
                        load = post_and_count(contender, connections, seconds=options.seconds)
                        rounds.setdefault((contender.name, connections), []).append(load)
                        progress.advance(task)
    share = print_rounds(rounds)
    target = f"{share:.2f} of bare on {TARGET_CONNECTIONS} connections, at least {TARGET:.2f}"
    return print_verdict(target, holds=share >= TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
