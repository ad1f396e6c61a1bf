"""How the service is: alive, able to serve, and in figures for Prometheus."""

import asyncio
from collections import defaultdict
from time import monotonic
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.access.callers import OPEN
from sprocket_factory.database import Database
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.headers import SECRET
from sprocket_factory.endpoints.negotiation import preferred_type
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.attainment_today import find_today
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.errors import Refusal, Unavailable
from sprocket_factory.observe_metrics import FORMATS, PLAIN, Value, build_info, expose

CHECK_SECONDS = 1.5
"""Whoever asks whether the service is ready has his answer by then."""

KEPT_SECONDS = 1.0
"""Anybody may ask, and the database is looked at no more often than this."""

PRODUCTION_SECONDS = 3.0
"""How long the production of today may take to be read."""

PRODUCTION_KEPT_SECONDS = 5.0

ALIVE = Answer({"status": "alive"})
READY = Answer({"status": "ready"})


class Status:
    """How the service is. What was found stands for a moment, for all who ask."""

    def __init__(self, database: Database, stopping: asyncio.Event) -> None:
        self._database = database
        self._stopping = stopping
        self._looking: asyncio.Future[Refusal | None] | None = None
        self._looked_at = 0.0
        self._reading: asyncio.Future[dict[str, list[Value]]] | None = None
        self._read_at = 0.0

    async def check_ready(self) -> None:
        """Raise Unavailable unless requests can be served now."""
        if self._stopping.is_set():
            raise Unavailable("The service is stopping.", hint="Ask another, or try again in a moment.")
        if self._looking is None or (self._looking.done() and monotonic() - self._looked_at > KEPT_SECONDS):
            self._looking = asyncio.ensure_future(self._look())
        refusal = await asyncio.shield(self._looking)
        if refusal is not None:
            raise Unavailable(refusal.detail, hint=refusal.hint) from refusal

    async def measure(self) -> dict[str, list[Value]]:
        """Return what can be measured now, by the name of the metric."""
        if self._reading is None or (self._reading.done() and monotonic() - self._read_at > PRODUCTION_KEPT_SECONDS):
            self._reading = asyncio.ensure_future(self._read_production())
        values: dict[str, list[Value]] = {
            "sprocket_build_info": [build_info(self._database.engine)],
            "sprocket_ready": [((), await self._is_ready())],
            **await asyncio.shield(self._reading),
        }
        return values | {name: [((), value)] for name, value in self._database.measures().items()}

    async def _is_ready(self) -> int:
        try:
            await self.check_ready()
        except Unavailable:
            return 0
        return 1

    async def _look(self) -> Refusal | None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._database.check()
        except Refusal as refusal:
            return refusal
        except TimeoutError:
            return Unavailable("The database does not answer in time.", hint="Try again in a moment.")
        finally:
            self._looked_at = monotonic()
        return None

    async def _read_production(self) -> dict[str, list[Value]]:
        values: dict[str, list[Value]] = defaultdict(list)
        try:
            async with asyncio.timeout(PRODUCTION_SECONDS):
                found = await find_today(self._database, now())
        except (Refusal, TimeoutError):
            return {"sprocket_production_readable": [((), 0)]}
        finally:
            self._read_at = monotonic()
        for factory, last, actual, goal in found:
            labels = [str(factory.id)]
            values["sprocket_factory_info"].append(([*labels, factory.name, factory.time_zone], 1))
            if last is not None:
                values["sprocket_production_last_record_timestamp_seconds"].append((labels, last / SECOND))
            if actual is not None and goal is not None:
                values["sprocket_production_actual_today"].append((labels, actual))
                values["sprocket_production_goal_today"].append((labels, goal))
        return {**values, "sprocket_production_readable": [((), 1)]}


@get("/health/live", role=OPEN, even_if_busy=True, headers=SECRET)
async def get_live(request: ApiRequest) -> ASGIApp:  # noqa: ARG001 - endpoints are asked with a request
    """Say that the process answers."""
    return ALIVE


@get("/health/ready", role=OPEN, even_if_busy=True, headers=SECRET)
async def get_ready(request: ApiRequest) -> ASGIApp:
    """Say that requests can be served. Raises Unavailable."""
    await request.scope["state"]["status"].check_ready()
    return READY


@get("/metrics", role="viewer", even_if_busy=True, headers=SECRET, media_types=FORMATS)
async def get_metrics(request: ApiRequest) -> ASGIApp:
    """Return every metric for Prometheus, in the format that it prefers."""
    return await _metrics(request.scope, request.scope["state"]["status"])


def metrics_alone(status: Status) -> ASGIApp:
    """Return an application that has the metrics and nothing else, for a port of their own."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {}
        is_found = scope["path"] == "/metrics" and scope.get("method") in {"GET", "HEAD"}
        await (await _metrics(scope, status) if is_found else NOTHING_HERE)(scope, receive, send)

    return answer


NOTHING_HERE = Answer(b"Only GET /metrics is here.\n", status=404, media_type=b"text/plain; charset=utf-8")


async def _metrics(scope: Any, status: Status) -> ASGIApp:
    values = await status.measure()
    # A thread's, for many factories make it long.
    media_type, text = await asyncio.to_thread(expose, preferred_type(scope, FORMATS) or PLAIN, values)
    return Answer(text, media_type=media_type.encode())


status_handlers = [get_live, get_ready, get_metrics]
