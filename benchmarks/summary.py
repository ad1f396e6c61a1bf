"""The README's table of what was measured side by side, from the run that is kept in measured.json."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.figures import Key, Round, Run, show_seconds
from benchmarks.lineup import BARE, BARE_ON_POSTGRESQL, EVERYBODY, PRODUCT, TUNED_FLASK
from benchmarks.report import Target
from benchmarks.side_by_side import BULK, LIST, LIST_ON, MILLION, ONE, POST, READS

MEASURED = Path(__file__).with_name("measured.json")
"""`bin/bench --keep benchmarks/measured.json` makes it, and `bin/docs` the table from it."""

MARKERS = ("<!-- from benchmarks/measured.json by bin/docs -->\n", "<!-- end -->\n")

OUTCOMES = {True: "holds", False: "**missed**", None: "not measured"}

BY_ITSELF = """
By itself, in the same run; long histories are shorter there than by themselves (`benchmarks/README.md`):

| | what is to hold |
|---|---|
"""


def _rate(measured: Round) -> str:
    return f"{measured.rate:,.0f}"


def _cpu(measured: Round) -> str:
    return show_seconds(measured.cpu)


def _p99(measured: Round) -> str:
    return show_seconds(measured.p99)


def _growth(measured: Round) -> str:
    return f"{measured.growth / 2**20:,.0f} MiB"


# What a row is called, which job on how many connections it is about, and what is shown of that.
ROWS: tuple[tuple[str, str, int, Callable[[Round], str]], ...] = (
    ("GET one sprocket, CPU for each", ONE, 16, _cpu),
    ("the same on 16 connections, a second", ONE, 16, _rate),
    ("and its p99", ONE, 16, _p99),
    ("its p99 on 256 connections", ONE, 256, _p99),
    ("its p99 while 4 others POST", READS, 16, _p99),
    ("GET a list of 60, CPU for each", LIST, LIST_ON, _cpu),
    ("GET 1,000,000 records", MILLION, 1, lambda measured: show_seconds(measured.p50)),
    ("how much more memory that takes", MILLION, 1, _growth),
    ("durable POSTs a second on 1 connection", POST, 1, _rate),
    ("on 16", POST, 16, _rate),
    ("on 64", POST, 64, _rate),
    ("on 256", POST, 256, _rate),
    ("CPU for each on 16", POST, 16, _cpu),
    ("POST 100,000 records as CSV", BULK, 1, lambda measured: show_seconds(measured.p50)),
)


def _told(targets: Sequence[Target]) -> str:
    return "<br>".join(f"{target.what}: {OUTCOMES[target.holds]}" for target in targets)


def with_measured(document: str) -> str:
    """Return the README with the table and the targets of the kept run between its MARKERS."""
    run = msgspec.json.decode(MEASURED.read_bytes(), type=Run)
    best = {figure.key: figure.best for figure in run.figures}
    names = [*(name for name in EVERYBODY if name not in {BARE, BARE_ON_POSTGRESQL}), BARE]
    lines = [["", *names], ["---"] * (len(names) + 1)]
    for title, job, connections, show in ROWS:
        measured = [best.get(Key(job, name, connections)) for name in names]
        lines.append([title, *("" if one is None else show(one) for one in measured)])
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    targets = "".join(f"- {_told([target])}\n" for target in run.targets)
    on_16, on_64 = (best[Key(POST, PRODUCT, on)].rate / best[Key(POST, TUNED_FLASK, on)].rate for on in (16, 64))
    beside_tuned = f"Beside tuned Flask it stores {on_16:.1f} times as many on 16, and {on_64:.1f} times on 64.\n"
    asked = {script: targets for script, targets in run.by_itself.items() if targets}
    others = "".join(f"| `python -m {script}` | {_told(targets)} |\n" for script, targets in asked.items())
    text = f"{table}\nOn {run.on}:\n\n{targets}\n{beside_tuned}{BY_ITSELF}{others}"
    before, _, rest = document.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    return f"{before}{MARKERS[0]}{text}{MARKERS[1]}{after}"
