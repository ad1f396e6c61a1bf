"""docs/observability.md says what there is: every metric, every event of the log, every alert, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus import RULES
from sprocket_factory.observe_metrics import with_metrics

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT.joinpath("docs", "observability.md").read_text(encoding="utf-8")

SAYS = re.compile(r"(\blog|_log|get_log\(OURS\))\.(debug|info|warning|error|critical|exception)$|^say$")


def section(title: str) -> str:
    """Return one part of the document."""
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> set[str]:
    """Return what is named as code in the first column of the tables."""
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def events() -> Iterator[str]:
    """Give every event that the source has a line for."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and SAYS.search(ast.unparse(node.func)):
                (event,) = node.args
                yield ast.literal_eval(event)


def test_every_metric_is_listed() -> None:
    """The list is made from the code: bin/docs."""
    assert with_metrics(DOCUMENT) == DOCUMENT


def test_every_event_of_the_log_is_described() -> None:
    """Whoever finds a line finds here what it means; and an event that is described can happen."""
    loggers = {name for name in first_cells(section("The log")) if name.startswith("sprocket_factory")}
    libraries = {"uvicorn", "asyncio", "asyncpg", "py.warnings"}

    assert {*events(), "request"} == first_cells(section("The log")) - loggers - libraries


def test_every_alert_says_what_to_do() -> None:
    """An alert that nobody knows an answer to only wakes people up."""
    assert RULES.keys() == first_cells(section("Alerts and dashboard"))
