"""The log as the tests read it: each line as it is written, in JSON."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import START_SECONDS
from sprocket_factory import observe_logs

Line = dict[str, Any]


class Logged:
    """What was logged."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    def take(self, line: Any) -> None:
        """Take a line, as it is made of a request or already is."""
        self.raw.append(line if isinstance(line, bytes) else observe_logs.encode_requests([line]))

    @property
    def text(self) -> str:
        """All of it."""
        return b"".join(self.raw).decode()

    def lines(self, event: str, **facts: object) -> list[Line]:
        """Return the lines of an event that state these facts."""
        found = [json.loads(line) for line in list(self.raw)]
        return [line for line in found if line["event"] == event and facts.items() <= line.items()]

    def wait_for(self, event: str, **facts: object) -> Line:
        """Return the one line of an event that states these facts. It is written just after the answer was sent."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := self.lines(event, **facts)):
            assert time.monotonic() < deadline, self.text
            time.sleep(0.001)
        (line,) = found
        return line


@contextmanager
def log_read(monkeypatch: pytest.MonkeyPatch, levels: str = "", format_: str = "json") -> Iterator[Logged]:
    """Read the log of this process: everything but what `levels` leave out."""
    logged = Logged()
    with logging_as_before(), monkeypatch.context() as patch:
        patch.setattr(observe_logs.lines, "write", logged.take)
        observe_logs.configure_logging("debug", levels, format_)
        yield logged


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Let the log of this process be at the end as the tests have it, whatever was set meanwhile."""
    handlers = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        observe_logs.configure_logging("warning", format_="console")
        logging.captureWarnings(capture=False)
        for handler in set(logging.getLogger().handlers) - set(handlers):
            logging.getLogger().removeHandler(handler)


def lines_in(output: str) -> list[Line]:
    """Return the lines in JSON of what a program has said; besides it greets whoever has started it."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert lines, f"There is no log to look through: {output}"
    return lines


def errors_in(output: str) -> list[Line]:
    """Return the lines of level error or worse of what a program has said."""
    return [line for line in lines_in(output) if line["level"] in {"error", "critical"}]
