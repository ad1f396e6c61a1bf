"""What was measured: a round, the best of several, targets, and all of it as JSON to compare later runs with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from benchmarks.report import Target, console


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one job by one contender.

    Times are in seconds: `cpu` for each request, of the whole process tree. `rate` is requests a second, or records
    where a job is about those. `growth` is by how many bytes the resident memory of the server's tree grew. `asking` is
    the share of one core that the asking took. What a job does not measure is None.
    """

    answers: int
    cpu: float | None
    rate: float
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    growth: int = 0
    asking: float | None = None


class Key(msgspec.Struct, frozen=True, order=True):
    """What a figure is of: the job, who did it, and on how many connections."""

    job: str
    contender: str
    connections: int


class Figure(msgspec.Struct, frozen=True):
    """What came of all rounds: of each number the best, since noise only ever adds; of growth the most."""

    key: Key
    rounds: int
    best: Round


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as it is kept. `on` says on which machine and with which versions.

    `by_itself` has what was to hold in each of the measurements that are not side by side, where the run has them.
    """

    on: str
    figures: list[Figure]
    targets: list[Target]
    by_itself: Mapping[str, Sequence[Target]] = {}


def _best(choose: Callable[[Sequence[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def choose_best(rounds: Sequence[Round]) -> Round:
    """Return the best of each number."""
    return Round(
        answers=max(one.answers for one in rounds),
        cpu=_best(min, [one.cpu for one in rounds]),
        rate=max(one.rate for one in rounds),
        p50=_best(min, [one.p50 for one in rounds]),
        p99=_best(min, [one.p99 for one in rounds]),
        p999=_best(min, [one.p999 for one in rounds]),
        growth=max(one.growth for one in rounds),
        asking=_best(max, [one.asking for one in rounds]),
    )


def summarize(rounds: Mapping[Key, Sequence[Round]]) -> dict[Key, Figure]:
    """Return the figure of each key."""
    return {key: Figure(key, len(measured), choose_best(measured)) for key, measured in rounds.items()}


def show_seconds(seconds: float | None) -> str:
    """Return a time for people: microseconds below ten milliseconds, milliseconds below ten seconds."""
    if seconds is None:
        return ""
    if seconds < 0.01:  # noqa: PLR2004
        return f"{seconds * 1e6:,.0f} µs"
    return f"{seconds * 1e3:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"  # noqa: PLR2004


def show_ratio(one: float | None, other: float | None) -> str:
    """Return how many times the other one is, where both are known."""
    return f"{one / other:.2f}" if one and other else ""


def print_job(job: str, figures: Mapping[Key, Figure], product: str, unit: str) -> None:
    """Print the figures of one job, with how many times as much processor time each takes as the product."""
    of_job = sorted(key for key in figures if key.job == job)
    names = list(dict.fromkeys(key.contender for key in figures if key.job == job))
    table = Table(
        "", "on", "CPU each", f"to {product}", f"{unit}/s", "p50", "p99", "p99.9", "RSS growth", "asking", title=job
    )
    for connections in sorted({key.connections for key in of_job}):
        ours = figures.get(Key(job, product, connections))
        for name in names:
            figure = figures.get(Key(job, name, connections))
            if figure is None:
                continue
            one = figure.best
            table.add_row(
                name,
                str(connections),
                show_seconds(one.cpu),
                show_ratio(one.cpu, ours.best.cpu if ours else None),
                f"{one.rate:,.0f}",
                *(show_seconds(latency) for latency in (one.p50, one.p99, one.p999)),
                f"{one.growth / 2**20:.0f} MiB",
                f"{one.asking:.0%}" if one.asking is not None else "",
            )
        table.add_section()
    console.print(table)


def keep(run: Run, file: Path) -> None:
    """Write a run to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))


def keep_by_itself(targets: Mapping[str, Sequence[Target]], file: Path) -> None:
    """Add to a run that is kept what was measured beyond it."""
    run = msgspec.json.decode(file.read_bytes(), type=Run)
    keep(msgspec.structs.replace(run, by_itself=targets), file)


def print_comparison(run: Run, file: Path) -> None:
    """Print what changed since the run in this file, where both have the figure."""
    earlier = {one.key: one.best for one in msgspec.json.decode(file.read_bytes(), type=Run).figures}
    table = Table("", "", "on", "CPU then", "now", "to then", "rate then", "now", "to then", title=f"since {file}")
    for figure in run.figures:
        then, now = earlier.get(figure.key), figure.best
        if then is None:
            continue
        table.add_row(
            figure.key.job,
            figure.key.contender,
            str(figure.key.connections),
            *(show_seconds(then.cpu), show_seconds(now.cpu), show_ratio(now.cpu, then.cpu)),
            *(f"{then.rate:,.0f}", f"{now.rate:,.0f}", show_ratio(now.rate, then.rate)),
        )
    console.print(table)
