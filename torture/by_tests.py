"""Figures that tests prove: the same tests as in `bin/test`, at another size."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from benchmarks.load import ROOT
from benchmarks.servers import list_tree

from torture.trials import Result, Trial

LAST_LINES = 60
"""Of what pytest says when a test fails."""

GRACE_SECONDS = 30
"""How long tests that were told to stop have to end what they have begun."""


class Size(NamedTuple):
    """How much tests are to try: a number in their environment, under this name, in full and in the small form."""

    name: str
    full: int
    quick: int


ONE_SIZE = Size("", 1, 1)
"""Of tests that have no other, and are told nothing."""


class Report(NamedTuple):
    """What pytest reports: how many tests ran, how many of them were skipped, and what they have counted."""

    tests: int
    skipped: int
    counts: dict[str, str]


def run_tests(trial: Trial, tests: Sequence[str], size: Size, least: Mapping[str, float], minutes: float) -> Result:
    """Run tests at one of their sizes and return what they say that they have counted.

    It holds if there are such tests, all of them pass within the minutes, none is skipped, and for each name in `least`
    they have counted as often as it says for each one of the size.
    """
    number = size.quick if trial.is_quick else size.full
    told = {size.name: str(number)} if size.name else {}
    if trial.is_weakened:
        told["SYNCHRONOUS"] = "normal"
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder, "report.xml"), Path(folder, "output.txt")
        argv = [sys.executable, "-m", "pytest", "--numprocesses=0", "--verbose", f"--junitxml={file}", *tests]
        code = run_within(minutes * 60, argv, os.environ | told, output)
        report = read_report(file)
        said = output.read_text(errors="replace").splitlines()[-LAST_LINES:]
    wrong = find_wrong(report, {name: times * number for name, times in least.items()})
    if code is None:
        wrong.append(f"The tests had not ended after {minutes:g} minutes.")
    if code != 0:
        wrong += said
    return Result(report.counts, "\n".join(wrong))


def run_within(seconds: float, argv: Sequence[str], environment: Mapping[str, str], output: Path) -> int | None:
    """Run a program in the checkout and return its exit code, or None if it had to be ended after so many seconds.

    What it prints goes to a file: what it leaves behind could hold a pipe open for ever.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest then says where it was, and ends the services of its tests
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        return None
    finally:
        end_tree(process)


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a process that still runs, with all that it has started."""
    if process.poll() is None:
        for member in list_tree(process.pid):
            with suppress(ProcessLookupError):  # it ends with those above it
                os.kill(member, signal.SIGKILL)
        process.wait()


def read_report(file: Path) -> Report:
    """Return what pytest has written in the format of JUnit; nothing if it has not come so far."""
    if not file.exists():
        return Report(0, 0, {})
    root = ET.parse(file).getroot()  # noqa: S314 - our own file
    tests, skipped = (
        sum(int(suite.get(name, "0")) for suite in root.iter("testsuite")) for name in ("tests", "skipped")
    )
    return Report(tests, skipped, {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")})


def find_wrong(report: Report, least: Mapping[str, float]) -> list[str]:
    """Return by what tests that pass prove less than they are here for."""
    wrong = [
        f"{name}: {report.counts.get(name, 'not counted')}, and has to be {bound:,g} at least."
        for name, bound in least.items()
        if float(report.counts.get(name, "-inf")) < bound
    ]
    if report.skipped:
        wrong.append(f"{report.skipped} of {report.tests} tests were skipped.")
    if not report.tests:
        wrong.append("No test ran.")
    return wrong
