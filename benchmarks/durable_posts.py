"""POST sprockets: how many a second are answered after they are safe on the disk, beside three baselines.

All run at once and write in turn, each round on so many connections; of each the best round is reported. After every
round the rows in the database are counted: a rate of answers for what is not stored is none. Exits with 1 if a target
is missed. README.md says what the baselines are, and why the target is tied to the trial.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
from rich.table import Table

from benchmarks.contenders import Contender, count_rows, post_sprockets, serve_baseline, serve_product
from benchmarks.load import Load, count_answers, find_rate
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu

CONNECTIONS = (1, 16, 64)
BASELINES = ("trial", "bare", "inline")
# On 16 connections: so many a second, and as many for each of the trial's as 5,000 are for the 7,000 of the design's.
TARGET_CONNECTIONS = 16
TARGET_RATE = 5_000
TARGET_SHARE = 5_000 / 7_000
WARM_UP = 200


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one contender. `cpu` is in seconds per POST, of the server's whole process tree."""

    load: Load
    rate: float
    cpu: float


Rounds = dict[tuple[str, int], list[Round]]


def post_and_count(contender: Contender, connections: int, *, seconds: float = 3600, requests: float = 1e12) -> Round:
    """Post sprockets, and make sure that each answer is 201 and stands for one new row. Raises RuntimeError if not."""
    before = count_rows(contender, "sprockets")
    cpu_before = measure_cpu(contender.server.pid)
    load = post_sprockets(contender, connections, seconds=seconds, requests=requests)
    cpu = measure_cpu(contender.server.pid) - cpu_before
    stored = count_rows(contender, "sprockets") - before
    if {201: stored} != load.statuses:
        raise RuntimeError(f"{contender.name} stored {stored} sprockets and answered {load.statuses}.")
    return Round(load=load, rate=find_rate(load), cpu=cpu / count_answers(load))


def measure(contenders: Sequence[Contender], rounds: int, seconds: float) -> Rounds:
    """Let the contenders write in turn, and return the rounds of each name and number of connections."""
    measured: Rounds = {}
    with show_progress() as progress:
        task = progress.add_task("rounds", total=len(CONNECTIONS) * rounds * len(contenders))
        for contender in contenders:
            post_and_count(contender, TARGET_CONNECTIONS, requests=WARM_UP)
        for connections in CONNECTIONS:
            for _ in range(rounds):
                for contender in contenders:
                    one = post_and_count(contender, connections, seconds=seconds)
                    measured.setdefault((contender.name, connections), []).append(one)
                    progress.advance(task)
    return measured


def choose_best(rounds: Rounds) -> dict[tuple[str, int], Round]:
    """Return the fastest round of each contender and number of connections."""
    return {key: max(measured, key=lambda one: one.rate) for key, measured in rounds.items()}


def print_rounds(rounds: Rounds) -> None:
    """Print the best round of each contender and number of connections, and its rate to that of each baseline."""
    best = choose_best(rounds)
    table = Table(
        "on", "", "POST/s", "of each round", "p50 ms", "p99 ms", "µs CPU", *(f"to {name}" for name in BASELINES)
    )
    for (name, connections), one in best.items():
        table.add_row(
            str(connections),
            name,
            f"{one.rate:,.0f}",
            " ".join(f"{each.rate:,.0f}" for each in rounds[name, connections]),
            *(f"{latency * 1e3:.2f}" for latency in (one.load.p50, one.load.p99)),
            f"{one.cpu * 1e6:.0f}",
            *(f"{one.rate / best[baseline, connections].rate:.2f}" for baseline in BASELINES),
            end_section=name == BASELINES[-1],
        )
    console.print(table)


def print_verdicts(rounds: Rounds) -> int:
    """Print the product's rate on 16 connections beside its targets, and return the exit code."""
    best = choose_best(rounds)
    rate = best["product", TARGET_CONNECTIONS].rate
    shares = {name: rate / best[name, TARGET_CONNECTIONS].rate for name in BASELINES}
    enough = f"{rate:,.0f} POST/s on {TARGET_CONNECTIONS} connections, at least {TARGET_RATE:,}"
    keeps_up = f"{shares['trial']:.2f} of the trial on {TARGET_CONNECTIONS} connections, at least {TARGET_SHARE:.2f}"
    console.print(f"no target: {shares['bare']:.2f} of the tuned bare writer, {shares['inline']:.2f} of inline commits")
    verdicts = [
        print_verdict(enough, holds=rate >= TARGET_RATE),
        print_verdict(keeps_up, holds=shares["trial"] >= TARGET_SHARE),
    ]
    return max(verdicts)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("POST sprockets: durable writes per second, product beside three baselines.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("POST sprockets", folder)
        contenders = [stack.enter_context(serve_product(folder))]
        contenders += [stack.enter_context(serve_baseline(name, folder)) for name in BASELINES]
        rounds = measure(contenders, options.rounds, options.seconds)
    print_rounds(rounds)
    return print_verdicts(rounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
