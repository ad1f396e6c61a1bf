"""Everything that is tried: each figure with what it promises, in full and in its small form."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from benchmarks import hostile
from benchmarks.report import console

from torture.by_load import find_refusals, watch_for_an_hour
from torture.by_tests import run_tests
from torture.trials import Result, Trial

Run = Callable[[Trial], Result]

NO_SIZES: Mapping[str, int] = MappingProxyType({})


class Figure(NamedTuple):
    """Something that is promised, how it is tried, and whether that takes the whole machine."""

    target: str
    run: Run
    is_load: bool = False


def by_tests(*tests: str, full: Mapping[str, int] = NO_SIZES, quick: Mapping[str, int] = NO_SIZES) -> Run:
    """Return what runs these tests, with sizes in their environment."""
    return partial(run_tests, tests=[f"tests/{test}" for test in tests], full=full, quick=quick)


def run_hostile(trial: Trial) -> Result:
    """Run the benchmark of hostile clients, and return its verdicts."""
    rounds = ["--rounds", "2", "--seconds", "1"] if trial.is_quick else []
    with console.capture() as printed:
        is_missed = hostile.main(["--folder", str(trial.folder), *rounds])
    text = printed.get()
    verdicts = [line for line in text.splitlines() if line.startswith(("holds: ", "missed: "))]
    return Result({"slow clients": str(hostile.SLOW), "verdicts": ", ".join(verdicts)}, text if is_missed else "")


POWER = "2"

HOUR = "10"

TIMING = "11"
"""Measures time, and means nothing where others use the machine."""

FIGURES = {
    "1": Figure(
        "100 times kill -9 under write load: no acknowledged record lost, no duplicate, no half batch",
        by_tests("test_kills.py", full={"KILLS": 100}, quick={"KILLS": 5}),
    ),
    POWER: Figure(
        "1,000 simulated power cuts on the real write path: none lost, none corrupt; both if less were synced",
        by_tests("test_power_cuts.py", full={"POWER_CUTS": 1000}, quick={"POWER_CUTS": 50}),
    ),
    "3": Figure(
        "the n-th write, sync and COMMIT fails, n = 1 to 200: never a wrong 2xx, whole each time, and it goes on",
        by_tests("test_failing_disk.py", full={"FAILURES": 200}, quick={"FAILURES": 20}),
    ),
    "4": Figure(
        "20,000 requests sent 1 to 5 times, 30 % of the answers lost: each is done once, as in the model",
        by_tests("test_retry_storm.py", full={"STORM_REQUESTS": 20_000}, quick={"STORM_REQUESTS": 600}),
    ),
    "7": Figure(
        "sums equal a full recount after 10,000 random writes by concurrent writers, on both engines",
        by_tests(
            "test_attainment_rollups.py::test_figure_7_sums_are_right_after_many_writes_at_once",
            full={"ROLLUP_WRITES": 10_000},
            quick={"ROLLUP_WRITES": 600},
        ),
    ),
    "8": Figure(
        "PostgreSQL killed and restarted 20 times under load: only 503 with Retry-After, none lost, success within 2 s",
        by_tests(
            "test_outages.py::test_fault_04_twenty_outages_under_load_lose_nothing",
            full={"OUTAGES": 20},
            quick={"OUTAGES": 5},
        ),
    ),
    "9": Figure(
        "8 writers and 8 readers for a minute: nobody is refused for a locked database", find_refusals, is_load=True
    ),
    HOUR: Figure(
        "after a warm-up an hour of mixed load moves memory and open files by less than 5 %, the log under 64 MB",
        watch_for_an_hour,
        is_load=True,
    ),
    TIMING: Figure(
        "500 slow clients, 1,000 wrong keys a second: others' p99 under twice the idle one", run_hostile, is_load=True
    ),
    "history": Figure(
        "each read gives what was acknowledged before it began, or later: SQLite, and two servers on PostgreSQL",
        by_tests("test_history.py", full={"HISTORY_CALLS": 20_000}, quick={"HISTORY_CALLS": 1500}),
    ),
    "events": Figure(
        "followers cut off again and again during 10,000 writes: nothing missed, nothing twice, on both engines",
        by_tests("test_events_missed.py", full={"EVENT_WRITES": 10_000}, quick={"EVENT_WRITES": 600}),
    ),
    "failover": Figure(
        "primary killed or cut off under load, standby promoted: none lost, two servers find the new one by themselves",
        by_tests(
            *(
                f"test_postgresql_failover.py::test_fault_04_a_standby_takes_over[{how}]"
                for how in ("killed", "hanging")
            )
        ),
    ),
}
