"""Figures that tests prove: the same tests as in `bin/test`, at another size."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.load import ROOT

from torture.trials import Result, Trial

LAST_LINES = 60
"""Of what pytest says when a test fails."""


def run_tests(trial: Trial, tests: Sequence[str], full: Mapping[str, int], quick: Mapping[str, int]) -> Result:
    """Run tests, with their sizes in the environment, and return what they say that they have counted.

    It holds if there are such tests and all of them pass.
    """
    told = {name: str(size) for name, size in (quick if trial.is_quick else full).items()}
    if trial.is_weakened:
        told["SYNCHRONOUS"] = "normal"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--numprocesses=0", "--quiet", f"--junitxml={report}", *tests],
            cwd=ROOT,
            env=os.environ | told,
            capture_output=True,
            text=True,
            check=False,
        )
        properties = ET.parse(report).iter("property") if report.exists() else []  # noqa: S314 - our own file
        counts = {one.attrib["name"]: one.attrib["value"] for one in properties}
    if done.returncode == 0:
        return Result(counts)
    return Result(counts, "\n".join([*done.stdout.splitlines()[-LAST_LINES:], done.stderr]))
