"""How the cost of a request grows with the records that are stored, from a thousand to ten millions, as a plot.

Four factories have one record a minute each, so more records are a longer history. Each question is asked of the
product, and of the Flask program where that has an answer to it. The plot goes to docs/growth.svg. There is no target.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks import jobs
from benchmarks.contenders import Contender, measure_processor
from benchmarks.figures import show_seconds
from benchmarks.filling import BEGIN, Factory, Stock
from benchmarks.lineup import serve_product_filled
from benchmarks.load import ROOT
from benchmarks.plot import Line, Point, draw
from benchmarks.programs import serve_program
from benchmarks.records import PRODUCTION_PATH
from benchmarks.report import build_parser, console, make_folder, print_heading, show_progress

ATTAINMENT_PATH = "/sprocketFactory/v1/attainment"
PLOT = ROOT / "docs" / "growth.svg"
SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
# The Flask program has a list in memory whole: ten million records would take 14 GB of it, and four minutes.
FLASK_SIZES = SIZES[:-1]
# Below this what is asked for once is asked for several times: processor time is told in hundredths of a second.
MANY = 10**5
# So many that ten million records end before today.
FACTORIES = 4
CONNECTIONS = 4
ROUNDS = 3
SECONDS = 1.0
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Question(NamedTuple):
    """What is asked, and how: its cost in seconds of processor time, of a contender with so many records."""

    name: str
    ask: Callable[[Contender, int], float]


def ask_again(path: Callable[[int], str], contender: Contender, records: int) -> float:
    """Ask for one path for a while, and return what a request takes. Of several rounds the cheapest counts."""
    rounds = [jobs.load(contender, [path(records)], CONNECTIONS, SECONDS) for _ in range(ROUNDS)]
    return min(one.cpu or 0.0 for one in rounds)


def ask_for_long(path: str, contender: Contender, records: int) -> float:
    """Ask for what takes long, and return what that takes. What comes is thrown away as it comes."""
    times = 10 if records < MANY else 1
    before = measure_processor(contender)
    for _ in range(times):
        for _chunk in jobs.read_chunks(contender, path):
            pass
    return (measure_processor(contender) - before) / times


def ask_for_all(contender: Contender, records: int) -> float:
    """Ask for everything and return what each record takes."""
    return ask_for_long(PRODUCTION_PATH, contender, records) / records


def find_moment(records: int, share: float) -> str:
    """Return the moment of a record of a factory, that share into its history."""
    return (BEGIN + timedelta(minutes=int((records // FACTORIES - 1) * share))).strftime(TIME)


def find_page(records: int) -> str:
    """Return the moment from which on a page is asked for: deep in the history, if that is longer than a page."""
    return find_moment(records, 0.75 if records > SIZES[0] else 0)


def find_last(records: int, span: timedelta) -> str:
    """Return the query of the last of a factory's history."""
    end = BEGIN + timedelta(minutes=records // FACTORIES)
    return f"time__gte={(end - span).strftime(TIME)}&time__lt={end.strftime(TIME)}"


OF_PRODUCT = (
    Question("one record", partial(ask_again, lambda n: f"{PRODUCTION_PATH}/2/{find_moment(n, 0.5)}")),
    Question(
        "one factory's last day",
        partial(ask_again, lambda n: f"{PRODUCTION_PATH}/2?{find_last(n, timedelta(days=1))}"),
    ),
    Question(
        "1,000 records from a moment on",
        partial(ask_again, lambda n: f"{PRODUCTION_PATH}?sort=time&limit=1000&time__gte={find_page(n)}"),
    ),
    Question(
        "attainment by day, the last year",
        partial(ask_again, lambda n: f"{ATTAINMENT_PATH}?by=day&factory_id=2&{find_last(n, timedelta(days=365))}"),
    ),
    Question("all records, each of them", ask_for_all),
)
OF_FLASK = (
    Question("one factory, whole", partial(ask_for_long, f"{PRODUCTION_PATH}/2")),
    Question("all records, each of them", ask_for_all),
)


def measure(
    inside: Path,
    sizes: Sequence[int],
    questions: Sequence[Question],
    start: Callable[[Path, Stock], AbstractContextManager[Contender]],
) -> dict[str, list[Point]]:
    """Fill and start a contender for each size, and return what each question costs it, by size."""
    costs: dict[str, list[Point]] = {question.name: [] for question in questions}
    with show_progress() as progress:
        task = progress.add_task("questions", total=len(sizes) * len(questions))
        for records in sizes:
            stock = Stock([Factory(number, records // FACTORIES) for number in range(1, FACTORIES + 1)])
            with make_folder(inside) as folder, start(folder, stock) as contender:
                for question in questions:
                    costs[question.name].append((records, question.ask(contender, records)))
                    progress.advance(task)
    return costs


def print_costs(name: str, costs: dict[str, list[Point]]) -> None:
    """Print what each question costs."""
    table = Table(name, *(f"{records:,}" for records in SIZES))
    for question, points in costs.items():
        table.add_row(question, *(show_seconds(seconds) for _, seconds in points))
    console.print(table)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code, which is 0: there is no target."""
    parser = build_parser("How the cost of a request grows with the records that are stored.")
    parser.add_argument("--plot", type=Path, default=PLOT, help="the SVG to write (default: %(default)s)")
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder:
        print_heading("How cost grows with records", folder)
    ours = measure(options.folder, SIZES, OF_PRODUCT, serve_product_filled)
    flasks = measure(options.folder, FLASK_SIZES, OF_FLASK, partial(serve_program, "Flask"))
    print_costs("this service", ours)
    print_costs("Flask", flasks)
    lines = [Line(name, points) for name, points in ours.items()]
    lines += [Line(f"Flask: {name}", points, ours=False) for name, points in flasks.items()]
    options.plot.write_text(draw("What a request costs, in processor time", "records of production", lines))
    console.print(f"drawn in {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
