"""What the database takes: counted, told where it was slow, and a span where there are traces.

A statement is known by the entity's function that runs it. That is looked up in the stack, and only where somebody is
told: passing a name through every call would cost each of them.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any

from sprocket_factory.observe_histogram import Series
from sprocket_factory.observe_logs import get_log
from sprocket_factory.observe_metrics import database_seconds, stage_seconds
from sprocket_factory.observe_traces import traces

log = get_log("sprocket_factory.database")

ENTITIES = "sprocket_factory.entities."

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE) (\w+)")


class Slow:
    """From when on something is slow."""

    seconds = 0.5


slow = Slow()


class _Took:
    """Notes how long its block took. Entered beneath the function that asked; made for each block, and cheap."""

    __slots__ = ("_began", "_sql")

    operation = ""
    seconds: Series

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds = perf_counter() - self._began
        self.seconds.observe(seconds)
        if seconds >= slow.seconds or traces.tracing is not None:
            _tell(self.operation, seconds, _function_above(), self._sql)


class read_noted(_Took):  # noqa: N801 - read as the verb that it is
    """Notes one statement."""

    operation = "read"
    seconds = database_seconds.labels("read")


class list_noted(_Took):  # noqa: N801 - as above
    """Notes a page, or a chunk of a whole list."""

    operation = "list"
    seconds = database_seconds.labels("list")


class write_noted:  # noqa: N801 - as above
    """Notes a write; or a bulk, which runs alone and takes long by nature."""

    __slots__ = ("_alone", "_began", "_function")

    seconds = database_seconds.labels("write")
    bulk_seconds = database_seconds.labels("bulk")

    def __init__(self, function: Callable[..., Any], *, alone: bool) -> None:
        self._function = function
        self._alone = alone

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds = perf_counter() - self._began
        (self.bulk_seconds if self._alone else self.seconds).observe(seconds)
        if seconds >= slow.seconds or traces.tracing is not None:
            operation = "bulk" if self._alone else "write"
            _tell(operation, seconds, name_of(self._function), "", expected=self._alone)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Note how long a stage of a bulk takes."""
    began = perf_counter()
    try:
        if traces.tracing is None:
            yield
        else:
            with traces.tracing.span(f"bulk {name}"):
                yield
    finally:
        stage_seconds.labels(name).observe(perf_counter() - began)


def name_of(function: Callable[..., Any]) -> str:
    """Return what a write function is called."""
    return getattr(function, "__name__", type(function).__name__)


def _tell(operation: str, seconds: float, name: str, sql: str, *, expected: bool = False) -> None:
    table = _TABLE.search(sql)
    facts = {"table": table.group(1)} if table else {}
    name = name or " ".join([operation, *facts.values()])
    if seconds >= slow.seconds:
        say = log.info if expected else log.warning
        say("slow statement", statement=name, operation=operation, ms=round(seconds * 1000, 1), **facts)
    if traces.tracing is not None:
        traces.tracing.note(name, seconds, {"db.operation.name": operation, **facts})


def _function_above() -> str:
    """Return the name of the entity's function that asked; nothing where the stack does not lead to it."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - there is no public way, and inspect reads source files
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(ENTITIES):
            return frame.f_code.co_name
        frame = frame.f_back
    return ""
