"""Figures that show under load alone: nobody is refused, and an hour leaves no trace but what was stored."""

import json
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from benchmarks.bulk import FACTORIES_PATH
from benchmarks.contenders import (
    SPROCKET,
    SPROCKETS_PATH,
    Contender,
    list_sprocket_paths,
    post_sprockets,
    serve_product,
)
from benchmarks.load import count_answers, find_rate, finish_load, start_load
from benchmarks.records import PRODUCTION_PATH
from benchmarks.servers import list_tree, measure_memory

from torture.trials import Result, Trial

SPROCKETS = 60
RECORDS = 600
"""Those that are written to over and over again."""

BATCH = 20
"""So many of them at once."""

LISTS = (
    f"{SPROCKETS_PATH}?limit=60",
    f"{PRODUCTION_PATH}/1",
    f"{PRODUCTION_PATH}?limit=100&sort=-time",
    "/sprocketFactory/v1/attainment?by=hour",
)

LOCKING_SECONDS = 60
QUICK_SECONDS = 4

WARM_UP_SHARE = 1 / 6
WINDOWS = 10
"""The time after the warm-up is cut into so many; the median of each is compared with that of the first."""

MOST_CHANGE = 0.05
MOST_WAL_BYTES = 64 * 1024 * 1024


class Sample(NamedTuple):
    """What the service holds at one moment: resident memory in bytes, open files, bytes of the write-ahead log."""

    memory: int
    files: int
    wal: int


class Load(NamedTuple):
    """One kind of request under way, and how many of them have to be answered in a second, at least.

    That is a small part of what two busy cores answer: with less it would not have been tried.
    """

    process: "Popen[str]"
    least_rate: float


@contextmanager
def served(folder: Path) -> Iterator[Contender]:
    """Run the service with a few sprockets and a factory."""
    with serve_product(folder) as product:
        post_sprockets(product, 1, requests=SPROCKETS)
        make_factory(product)
        yield product


def make_factory(product: Contender) -> None:
    """Make the factory known whose records are written."""
    url = f"http://127.0.0.1:{product.server.port}{FACTORIES_PATH}"
    new = urllib.request.Request(url, b'{"name": "Rotherham"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(new) as answer:  # noqa: S310 - an address of ours
        answer.read()


def start_loads(product: Contender, seconds: float) -> dict[str, Load]:
    """Let eight connections write and eight read without a pause, each kind from a process of its own.

    Two kinds put different counts to the same records, so that nearly each of their writes changes something.
    """
    times = [f"2021-01-21T{minute // 60:02}:{minute % 60:02}:00Z" for minute in range(RECORDS)]
    records = [f"{PRODUCTION_PATH}/1/{time}" for time in times]
    batch = json.dumps([{"factory_id": 1, "time": time, **counts(3)} for time in times[:BATCH]])
    sprockets = list_sprocket_paths(product)
    put = ("--method", "PUT", "--body")
    post = ("--method", "POST", "--body")
    time_is_up = ("--seconds", str(seconds))

    def load(paths: Sequence[str], connections: int, least_rate: float, *how: str) -> Load:
        started = start_load(product.server.port, paths, "--connections", str(connections), *time_is_up, *how)
        return Load(started, least_rate)

    return {
        "records put": load(records, 3, 10, *put, json.dumps(counts(1))),
        "records put otherwise": load(records, 3, 10, *put, json.dumps(counts(2))),
        "sprockets posted": load([SPROCKETS_PATH], 1, 3, *post, SPROCKET),
        "batches posted": load([f"{PRODUCTION_PATH}?on_conflict=replace"], 1, 3, *post, batch),
        "sprockets read": load(sprockets, 4, 30),
        "lists read": load(LISTS, 4, 10),
    }


def counts(actual: int) -> dict[str, int]:
    """Return what is stored of a record."""
    return {"sprocket_production_actual": actual, "sprocket_production_goal": 5}


def finish_loads(loads: dict[str, Load]) -> Result:
    """Return how many requests of each kind were answered with 2xx; it holds if all were, and fast enough."""
    answered, wrong = {}, []
    for name, (process, least_rate) in loads.items():
        try:
            load = finish_load(process)
        except RuntimeError as error:
            wrong.append(f"{name}: {error}")
            continue
        answered[name] = f"{count_answers(load):,}"
        if find_rate(load) < least_rate:
            wrong.append(f"{name}: {find_rate(load):.1f} a second, and have to be {least_rate:g} at least.")
    return Result(answered, "\n".join(wrong))


def find_refusals(trial: Trial) -> Result:
    """Let eight write and eight read for a minute: none of them is refused, for a locked database or anything else."""
    with served(trial.folder) as product:
        return finish_loads(start_loads(product, QUICK_SECONDS if trial.is_quick else LOCKING_SECONDS))


def watch_for_an_hour(trial: Trial) -> Result:
    """Let the same go on for an hour: after a warm-up neither memory nor open files move, and the log stays short."""
    seconds = trial.minutes * 60
    with served(trial.folder) as product:
        loads = start_loads(product, seconds)
        ends_at = time.monotonic() + seconds
        samples = []
        while time.monotonic() < ends_at:
            samples.append(take_sample(product))
            time.sleep(1)
        answered = finish_loads(loads)
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    memory, files = (find_change([sample[place] for sample in settled]) for place in (0, 1))
    log = max(sample.wal for sample in samples)
    wrong = [
        f"{what} moved by {change:.1%}"
        for what, change in (("resident memory", memory), ("open files", files))
        if abs(change) >= MOST_CHANGE
    ]
    if log >= MOST_WAL_BYTES:
        wrong.append(f"the write-ahead log grew to {log:,} bytes")
    seen = {
        "minutes": f"{trial.minutes:g}",
        "resident memory": f"{settled[0].memory / 2**20:.0f} MiB {memory:+.1%}",
        "open files": f"{settled[0].files} {files:+.1%}",
        "longest log": f"{log / 2**20:.1f} MiB",
    }
    return Result(seen | answered.counts, "\n".join([*wrong, answered.wrong]).strip())


def take_sample(product: Contender) -> Sample:
    """Look at the service from outside."""
    files = sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in list_tree(product.server.pid))
    log = Path(f"{product.database}-wal")
    return Sample(measure_memory(product.server.pid), files, log.stat().st_size if log.exists() else 0)


def find_change(values: Sequence[int]) -> float:
    """Return by what share of the first window's median that of another window lies farthest from it."""
    length = max(1, len(values) // WINDOWS)
    medians = [statistics.median(values[start : start + length]) for start in range(0, len(values), length)]
    return max((median / medians[0] - 1 for median in medians), key=abs)
