"""The six endpoints side by side: this service, the programs a user would otherwise write, and the bare limit.

All run at once and are asked in turn, round by round, so that what else happens on the machine falls on all of them.
Before that each has to answer like the others. What was measured is kept as JSON, for `--compare`. Exits with 1 if a
target is missed.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import jobs
from benchmarks.check import check
from benchmarks.contenders import Contender
from benchmarks.figures import Figure, Key, Round, Run, keep, print_comparison, print_job, summarize
from benchmarks.filling import BEGIN
from benchmarks.lineup import (
    BARE,
    BARE_ON_POSTGRESQL,
    EVERYBODY,
    FEW,
    FLASK,
    ON_POSTGRESQL,
    PRODUCT,
    SPROCKETS,
    STOCK,
    start,
)
from benchmarks.records import PRODUCTION_PATH, write_records
from benchmarks.report import (
    Target,
    build_parser,
    console,
    describe_machine,
    list_versions,
    make_folder,
    print_heading,
    print_verdict,
    show_progress,
)

ONE = "GET one sprocket"
LIST = "GET a list of 60 sprockets"
MILLION = "GET 1,000,000 records"
BESIDE = "GET one sprocket while somebody GETs 1,000,000 records"
READS = "GET one sprocket while 4 POST"
POST = "POST a sprocket, durably"
BULK = "POST 100,000 records as CSV"

# One caller may read so many whole lists at once, and the product answers 503 to more.
LIST_ON = 4
BULK_MINUTES = 10_000
# Behind all that is stored.
LATER = BEGIN + timedelta(days=365)
WARM_UP = 1.0


class Plan(NamedTuple):
    """How much is measured: who, and how often; `whole`: every job, and not only those that a target is about.

    Each round takes so many seconds, and there are so many unless told otherwise. GET and POST of one sprocket are
    measured on so many connections in so many rounds. `lists` says who lists a million records how often: it takes some
    half a minute.
    """

    names: Sequence[str]
    rounds: int
    seconds: float
    get_on: Sequence[tuple[int, int]]
    post_on: Sequence[tuple[int, int]]
    lists: Sequence[tuple[Sequence[str], int]]
    whole: bool


OFTEN = (PRODUCT, FLASK)
SELDOM = tuple(name for name in EVERYBODY if name not in OFTEN)
FULL = Plan(
    EVERYBODY,
    3,
    1.5,
    get_on=((16, 3), (1, 1), (256, 1)),
    post_on=((16, 3), (64, 3), (1, 1), (256, 1)),
    lists=((OFTEN, 3), (SELDOM, 1)),
    whole=True,
)
QUICK = Plan(
    (PRODUCT, BARE, FLASK),
    3,
    1.5,
    get_on=((16, 3),),
    post_on=((16, 3), (64, 3)),
    lists=((OFTEN, 1),),
    whole=False,
)
# Who is read from while somebody lists a million records: for the others that would take minutes more.
BESIDE_LIST = (PRODUCT, ON_POSTGRESQL, FLASK)

QUICK_HELP = "in two minutes: only what a target is about, and of these not the one on PostgreSQL"

Rounds = dict[Key, list[Round]]


def take_turns(
    rounds: Rounds, contenders: Sequence[Contender], times: int, key: Key, act: Callable[[Contender], Round]
) -> None:
    """Let contenders act in turn, so many times, and note each round under the key and the contender's name."""
    with show_progress() as progress:
        task = progress.add_task(f"{key.job}, on {key.connections}", total=times * len(contenders))
        for _ in range(times):
            for contender in contenders:
                noted = msgspec.structs.replace(key, contender=contender.name)
                rounds.setdefault(noted, []).append(act(contender))
                progress.advance(task)


def measure_small(rounds: Rounds, contenders: Sequence[Contender], plan: Plan) -> None:
    """Let contenders read single sprockets and short lists."""
    for contender in contenders:
        jobs.get_one(contender, SPROCKETS, 16, WARM_UP)
    for on, times in plan.get_on:
        act = partial(jobs.get_one, sprockets=SPROCKETS, connections=on, seconds=plan.seconds)
        take_turns(rounds, contenders, times, Key(ONE, "", on), act)
    act = partial(jobs.get_list, connections=LIST_ON, seconds=plan.seconds)
    take_turns(rounds, contenders, plan.rounds, Key(LIST, "", LIST_ON), act)


def measure_million(rounds: Rounds, contenders: Sequence[Contender], plan: Plan) -> None:
    """Let contenders list a million records, those that a target is about more often."""
    act = partial(jobs.get_records, path=PRODUCTION_PATH, records=STOCK.records)
    for names, times in plan.lists:
        take_turns(rounds, [one for one in contenders if one.name in names], times, Key(MILLION, "", 1), act)
    if plan.whole:
        act = partial(jobs.get_one_beside_list, sprockets=SPROCKETS, connections=8, records=STOCK.records)
        take_turns(rounds, [one for one in contenders if one.name in BESIDE_LIST], 1, Key(BESIDE, "", 8), act)


def measure_writes(rounds: Rounds, contenders: Sequence[Contender], plan: Plan) -> None:
    """Let contenders store sprockets."""
    for contender in contenders:
        jobs.post_one(contender, 16, WARM_UP)
    for on, times in plan.post_on:
        act = partial(jobs.post_one, connections=on, seconds=plan.seconds)
        take_turns(rounds, contenders, times, Key(POST, "", on), act)
    if plan.whole:
        act = partial(jobs.get_one_during_posts, sprockets=SPROCKETS, connections=16, seconds=plan.seconds)
        take_turns(rounds, contenders, plan.rounds, Key(READS, "", 16), act)


def measure_bulk(rounds: Rounds, contenders: Sequence[Contender], folder: Path, times: int) -> None:
    """Let contenders store 100,000 records at once, other ones each time."""
    for number in range(times):
        file = folder / f"bulk-{number}.csv"
        begin = LATER + timedelta(minutes=number * BULK_MINUTES)
        write_records(file, [one.id for one in STOCK.factories[:10]], BULK_MINUTES, lambda: None, begin)
        act = partial(jobs.post_records, file=file, records=10 * BULK_MINUTES)
        take_turns(rounds, contenders, 1, Key(BULK, "", 1), act)


def measure(folder: Path, plan: Plan) -> dict[Key, Figure]:
    """Do all that is planned and return what came of it. Raises RuntimeError where answers differ or are wrong."""
    rounds: Rounds = {}
    with ExitStack() as stack:
        with show_progress() as progress:
            task = progress.add_task("filling and starting", total=len(plan.names))
            started: dict[str, Contender] = {}
            for name in plan.names:
                started[name] = stack.enter_context(start(name, folder, started))
                progress.advance(task)
        contenders = list(started.values())
        check(contenders, FEW.id)
        console.print(f"{len(contenders)} contenders answer alike at the endpoints that they have")
        measure_small(rounds, contenders, plan)
        whole = [one for one in contenders if one.whole]
        measure_million(rounds, whole, plan)
        measure_writes(rounds, whole, plan)
        if plan.whole:
            ours = [one for one in contenders if one.name in {PRODUCT, ON_POSTGRESQL}]
            measure_bulk(rounds, ours, folder, plan.rounds)
    return summarize(rounds)


def print_jobs(figures: Mapping[Key, Figure]) -> None:
    """Print the figures of every job."""
    for job in dict.fromkeys(key.job for key in figures):
        print_job(job, figures, PRODUCT, "records" if job in {MILLION, BULK} else "requests")


def judge(figures: Mapping[Key, Figure]) -> list[Target]:
    """Return what is to hold of the product, and whether it does, as far as it was measured."""

    def best(job: str, name: str, on: int) -> Round:
        return figures[Key(job, name, on)].best

    def at_most(what: str, value: float, bound: float) -> Target:
        return Target(f"{what}: {value:.2f}, at most {bound:g}", value <= bound)

    def at_least(what: str, value: float, bound: float) -> Target:
        return Target(f"{what}: {value:.1f}, at least {bound:g}", value >= bound)

    one, bare, flask = (best(ONE, name, 16).cpu or 0 for name in (PRODUCT, BARE, FLASK))
    listed, bare_listed = (best(LIST, name, LIST_ON).cpu or 0 for name in (PRODUCT, BARE))
    million, flask_million = (best(MILLION, name, 1) for name in (PRODUCT, FLASK))
    targets = [
        at_least("one sprocket, times cheaper than Flask", flask / one, 5),
        at_most("one sprocket, times the bare limit", one / bare, 3),
        at_most("list of 60, times the bare limit", listed / bare_listed, 2),
        at_least("1,000,000 records, times faster than Flask", million.rate / flask_million.rate, 7),
        at_most("1,000,000 records, growth of resident memory in MiB", million.growth / 2**20, 64),
        *(
            at_least(
                f"durable POSTs a second on {on} connections, times Flask's",
                best(POST, PRODUCT, on).rate / best(POST, FLASK, on).rate,
                10,
            )
            for on in (16, 64)
        ),
    ]
    on_postgresql = "one sprocket on PostgreSQL, times bare ASGI on asyncpg's pool as it comes"
    if Key(ONE, ON_POSTGRESQL, 16) in figures:
        there, bare_there = (best(ONE, name, 16).cpu or 0 for name in (ON_POSTGRESQL, BARE_ON_POSTGRESQL))
        return [*targets, at_most(on_postgresql, there / bare_there, 1.8)]
    return [*targets, Target(f"{on_postgresql}: at most 1.8", None)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a parser know the options of this measurement."""
    parser.add_argument("--quick", action="store_true", help=QUICK_HELP)
    parser.add_argument("--keep", type=Path, help="keep the figures in this file (default: one of its own in --folder)")
    parser.add_argument("--compare", type=Path, help="print what changed since the run that is kept in this file")


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("The six endpoints: this service beside Flask, FastAPI, Django, Datasette and a limit.")
    add_options(parser)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("Side by side", folder)
        figures = measure(folder, QUICK if options.quick else FULL)
    targets = judge(figures)
    run = Run(on=f"{describe_machine()}; {list_versions()}", figures=list(figures.values()), targets=targets)
    file = options.keep or options.folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    keep(run, file)
    print_jobs(figures)
    console.print(f"kept in {file}")
    if options.compare:
        print_comparison(run, options.compare)
    return max(print_verdict(target.what, holds=target.holds) for target in targets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
