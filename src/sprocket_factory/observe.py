"""What the service tells about itself of every request: its id, one line, one count, and a span if there are traces.

The loggers are declared here. What a line looks like stands in observe_logs.py, the metrics in observe_metrics.py.
"""

import itertools
import os
import re
from asyncio import Event
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from sprocket_factory.observe_logs import LEVELS, RequestLine, get_log, lines, now_answered
from sprocket_factory.observe_metrics import UNMATCHED, count_request, in_flight
from sprocket_factory.observe_traces import traces

GOODBYE = (b"connection", b"close")

log = get_log("sprocket_factory")
"""Starting, stopping, and what nobody foresaw."""

ACCESS = "sprocket_factory.access"

access_log = get_log(ACCESS)
"""One line for each request."""

security_log = get_log("sprocket_factory.security")
"""Wrong keys, refused roles, keys made and revoked."""

QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked for every few seconds, for ever: their lines are for who debugs."""

UNFORESEEN = 500

DEBUG, INFO, WARNING, ERROR = range(4)
"""Places among the LEVELS."""

LEVEL_OF = (INFO, INFO, INFO, INFO, INFO, WARNING)
"""The level of a request by the first digit of its status. 5xx says that the storage is away, full or busy; but what
nobody foresaw, 500, is an error. 0 stands for no answer at all."""

NOTHING = ()


class _RequestIds:
    """Random for each process and counted within it: as unique as a random id for each request, without a system call.

    A worker that was forked is another process.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Begin anew."""
        self._process = os.urandom(6).hex().encode()
        self._requests = itertools.count(1)

    def next(self) -> bytes:
        """Return one that was never given before."""
        return b"%s-%x" % (self._process, next(self._requests))


_next_request_id = _RequestIds().next

_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def request_id_of(scope: Scope) -> str:
    """Return the id of the request in this scope."""
    request_id: str = scope["state"]["request_id"]
    return request_id


def has_begun(scope: Scope) -> bool:
    """Return whether the answer to the request in this scope is on its way already."""
    return "answered" in scope["state"]


def observe_requests(app: ASGIApp, stopping: Event, **state: object) -> ASGIApp:
    """Wrap the application so that every request has an id, and every response says it in `X-Request-ID`.

    The caller's own id is kept where it is sane; anything else could forge lines in a log. Every request's state also
    holds what is given here. When it ends it is counted and told. Once the service is stopping, each answer is the last
    of its connection, so that no request is sent into one that is just being closed.

    The answer also carries the headers that stand in the state by then: `headers`, which the route decides, and
    `more_headers`, which the request does.
    """

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        request_id = _next_request_id()
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
                request_id = value
        own: dict[str, Any] = {"request_id": request_id.decode(), "headers": (), "more_headers": (), **state}
        scope["state"] = own
        now_answered.set(own)
        span = traces.tracing.begin_request(scope, own) if traces.tracing is not None else None
        size = 0
        is_whole = False

        async def send_observed(message: Message) -> None:
            nonlocal size, is_whole
            if message["type"] == "http.response.start":
                own["answered"] = message["status"]
                headers = [*message["headers"], *own["headers"], *own["more_headers"], (b"x-request-id", request_id)]
                if stopping.is_set():
                    headers.append(GOODBYE)
                message["headers"] = headers
            else:
                size += len(cast("bytes", message.get("body", b"")))
                is_whole = not message.get("more_body")
            await send(message)

        in_flight.count += 1
        try:
            await app(scope, receive, send_observed)
        finally:
            in_flight.count -= 1
            route = scope.get("path_template") or UNMATCHED
            status = own.get("answered", 0)
            method = cast("HTTPScope", scope)["method"]
            _tell(own, method, route, status, perf_counter() - began, size, is_whole)
            if span is not None and traces.tracing is not None:
                traces.tracing.end_request(span, method, route, status, own["request_id"])

    return observed


def _tell(  # noqa: PLR0913, PLR0917 - what there is to say of a request, by its place, which is cheap
    state: dict[str, Any],
    method: str,
    route: str,
    status: int,
    seconds: float,
    size: int,
    is_whole: bool,  # noqa: FBT001
) -> None:
    """Count a request, and write its line."""
    count_request(method, route, status, state.get("seconds_to_begin", seconds))
    level = _level(route, status)
    if level < access_log.least:
        return
    caller = state.get("caller")
    line = RequestLine(
        datetime.now(UTC),
        LEVELS[level],
        ACCESS,
        "request",
        method,
        route,
        status,
        round(seconds * 1000, 3),
        size,
        state["request_id"],
        "" if caller is None else caller.id,
        not is_whole,
        *state.get("refusal", NOTHING),
    )
    if "trace_id" in state:
        line.trace_id = state["trace_id"]
    lines.write(line)


def _level(route: str, status: int) -> int:
    if status == UNFORESEEN:
        return ERROR
    return DEBUG if route in QUIET else LEVEL_OF[status // 100]
