"""Everything that is tried: each figure with what it promises, in full and in its small form."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from benchmarks import hostile

from torture.by_load import find_refusals, watch_for_an_hour
from torture.by_tests import ONE_SIZE, Size, run_tests
from torture.trials import Result, Trial

Run = Callable[[Trial], Result]

ENGINES = ("sqlite", "postgresql")

LOST = ("killed", "hanging")
"""How a primary is lost."""


class Figure(NamedTuple):
    """Something that is promised, how it is tried, and whether that takes the whole machine and a disk.

    Where the target says {minutes} it is tried for as long as one asks for.
    """

    target: str
    run: Run
    is_load: bool = False


def by_tests(*tests: str, least: Mapping[str, float], minutes: float, size: Size = ONE_SIZE) -> Run:
    """Return what runs these tests. They take a small part of the minutes, unless one hangs."""
    return partial(run_tests, tests=[f"tests/{test}" for test in tests], size=size, least=least, minutes=minutes)


def on_each(least: Mapping[str, float], places: Iterable[str] = ENGINES) -> dict[str, float]:
    """Return the least counts of tests that count for each place by itself."""
    return {f"{what} {place}": times for place in places for what, times in least.items()}


def run_hostile(trial: Trial) -> Result:
    """Run the benchmark of hostile clients."""
    measured = hostile.measure(trial.folder, 3, 1) if trial.is_quick else hostile.measure(trial.folder)
    missed = [f"missed: {target.what}" for target in measured.targets() if not target.holds]
    others = f"p99 {measured.ratio:.2f} times the one alone"
    return Result({"others": others, **measured.figures()}, "\n".join(missed))


POWER = "2"

HOUR = "10"

TIMING = "11"
"""Measures time, and means nothing where others use the machine."""

FIGURES = {
    "1": Figure(
        "100 times kill -9 under write load: no acknowledged record lost, no duplicate, no half batch",
        by_tests(
            "test_kills.py",
            size=Size("KILLS", full=100, quick=5),
            least={"kills": 1, "acknowledged writes": 10},
            minutes=15,
        ),
    ),
    POWER: Figure(
        "1,000 simulated power cuts on the real write path: none lost, none corrupt; both if less were synced",
        by_tests(
            "test_power_cuts.py",
            size=Size("POWER_CUTS", full=1000, quick=50),
            least={"power cuts": 1, "acknowledged writes": 5},
            minutes=30,
        ),
    ),
    "3": Figure(
        "the n-th write, sync and COMMIT fails, n = 1 to 200: never a wrong 2xx, whole each time, and it goes on",
        by_tests(
            "test_failing_disk.py",
            size=Size("FAILURES", full=200, quick=20),
            least={"failed write calls": 1, "failed sync calls": 1, "failed commit calls": 1},
            minutes=20,
        ),
    ),
    "4": Figure(
        "20,000 requests sent 1 to 5 times, 30 % of the answers lost: each is done once, as in the model",
        by_tests(
            "test_retry_storm.py",
            size=Size("STORM_REQUESTS", full=20_000, quick=600),
            least=on_each({"requests on": 1, "answers lost on": 0.85}),  # each is sent three times, on average
            minutes=30,
        ),
    ),
    "5": Figure(
        "one random sequence of 5,000 requests is answered alike on both engines: status, headers and body",
        by_tests(
            "test_engines_agree.py",
            size=Size("AGREE_REQUESTS", full=5000, quick=600),
            least={"answers alike": 1, "of them 2xx": 0.2},
            minutes=15,
        ),
    ),
    "7": Figure(
        "sums equal a full recount after 10,000 random writes by concurrent writers, on both engines",
        by_tests(
            "test_attainment_rollups.py::test_figure_7_sums_are_right_after_many_writes_at_once",
            size=Size("ROLLUP_WRITES", full=10_000, quick=600),
            least=on_each({"writes on": 1, "of them done on": 0.5, "sums compared on": 0.01}),
            minutes=15,
        ),
    ),
    "8": Figure(
        "PostgreSQL killed and restarted 20 times under load: only 503 with Retry-After, none lost, success within 2 s",
        by_tests(
            "test_outages.py::test_fault_04_outages_under_load_lose_nothing",
            size=Size("OUTAGES", full=20, quick=5),
            least={"outages": 1, "acknowledged writes": 1},
            minutes=10,
        ),
    ),
    "9": Figure(
        "8 writers and 8 readers for a minute: nobody is refused for a locked database", find_refusals, is_load=True
    ),
    HOUR: Figure(
        "after a warm-up {minutes:g} min of mixed load move memory and open files by less than 5 %; log under 64 MB",
        watch_for_an_hour,
        is_load=True,
    ),
    TIMING: Figure(
        "500 slow clients, 1,000 wrong keys a second: others' p99 under twice the idle one", run_hostile, is_load=True
    ),
    "history": Figure(
        "each read gives what was acknowledged before it began, or later: SQLite, and two servers on PostgreSQL",
        by_tests(
            "test_history.py",
            size=Size("HISTORY_CALLS", full=20_000, quick=1500),
            least=on_each({"values read from": 0.5, "values written to": 0.25}, ("1 server(s)", "2 server(s)")),
            minutes=30,
        ),
    ),
    "events": Figure(
        "followers cut off again and again during 10,000 writes: nothing missed, nothing twice, on both engines",
        by_tests(
            "test_events_missed.py",
            size=Size("EVENT_WRITES", full=10_000, quick=600),
            least=on_each({"writes on": 1, "events that each saw on": 1, "times that they were cut off on": 0.04}),
            minutes=30,
        ),
    ),
    "failover": Figure(
        "primary killed or cut off under load, standby promoted: none lost, two servers find the new one by themselves",
        by_tests(
            *(f"test_postgresql_failover.py::test_fault_04_a_standby_takes_over[{how}]" for how in LOST),
            size=Size("FAILOVERS", full=5, quick=1),
            least={"failovers": 1} | on_each({"acknowledged writes, primary": 8}, LOST),
            minutes=10,
        ),
    ),
}
