"""Events over HTTP as production is recorded: server-sent events, which browsers read by EventSource.

A block without data is no event, but its id counts all the same. So a client that has seen none yet, or none for a long
time, comes back to the right place as well (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from time import perf_counter

from litestar import Router
from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.access.callers import counted_as
from sprocket_factory.endpoints.answers import Header
from sprocket_factory.endpoints.endless import ENDLESS, Endless
from sprocket_factory.endpoints.events_tail import Cursor, Feed, FellBehind
from sprocket_factory.endpoints.headers import SECRET
from sprocket_factory.endpoints.parameters import EVENT_ID, parameters_of, wrong_parameter
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.endpoints.streaming import watch_reader
from sprocket_factory.entities import MAX_ID
from sprocket_factory.errors import NotNow, Refusal, shown
from sprocket_factory.observe import log

ROLE = "viewer"

BEAT_SECONDS = 15
"""So often a line is sent that keeps proxies awake, and the caller's credentials are looked at again."""

HEADERS: Sequence[Header] = (
    (b"content-type", b"text/event-stream"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events until it has some kilobytes of them
)


@get(
    "/",
    role=ROLE,
    gives=str,
    media_types=("text/event-stream",),
    parameters={"last_event_id": EVENT_ID | {"description": "As the header Last-Event-ID, which outdoes it."}},
    headers=SECRET,
    endless=True,
)
async def get_events(request: ApiRequest) -> ASGIApp:
    """Follow production as it is recorded: server-sent events, from now on or from where the caller was before.

    Each `production` says which records of one factory one write has touched: factory_id, from, to, records. Whoever
    comes back with the id of the last one misses none and sees none twice; where what was missed is not kept any more,
    one `reset` says so.
    """
    return _Stream(_read_last_id(request))


def _read_last_id(request: ApiRequest) -> Cursor | None:
    """Return what a caller has seen; None where that is not said. Raises Invalid."""
    name = "Last-Event-ID"
    ids = [value.decode("latin-1") for header, value in request.scope["headers"] if header == b"last-event-id"]
    if not ids:
        name = "last_event_id"
        ids = [value for parameter, value in parameters_of(request).items() if parameter == name]
    if not ids:
        return None
    id_ = ",".join(ids)
    position, _, place = id_.partition(".")
    if re.fullmatch(EVENT_ID["pattern"], id_, re.ASCII) and int(position) <= MAX_ID:
        return Cursor(int(position), int(place)) if place else Cursor(int(position))
    raise wrong_parameter(name, f"{shown(id_)} is the id of no event.", "Leave it out to begin now.")


class _Stream:
    """The events behind a cursor, one after the other, until their reader leaves or has to."""

    def __init__(self, cursor: Cursor | None) -> None:
        self._cursor = cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        feed: Feed = state["feed"]
        began = perf_counter()
        with feed.place_for(counted_as(state["caller"], scope)) as woken:
            async with aclosing(feed.follow(self._cursor, woken)) as following:
                cursor, text = await anext(following)
                state["seconds_to_begin"] = perf_counter() - began  # that it stays for hours is no long wait
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                if scope.get("method") != "HEAD":
                    reader = _Reader(scope, send, woken)
                    await reader.tell(cursor, text)
                    if not await reader.tell_all(following, receive):
                        return  # without an end, so the server breaks the connection off
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Reader:
    """Whoever follows: what it was told, and whether it is to be told more."""

    def __init__(self, scope: Scope, send: Send, woken: asyncio.Event) -> None:
        self._scope = scope
        self._send = send
        self._woken = woken
        self._may_stay = True
        self._knows: Cursor
        """The last id that it was told."""
        self._clock = asyncio.get_running_loop().time
        self._beats_at = self._clock() + BEAT_SECONDS

    async def tell_all(self, following: AsyncGenerator[tuple[Cursor, bytes]], receive: Receive) -> bool:
        """Tell what comes until the reader leaves or has to, and return whether it was quick enough."""
        endless: Endless = self._scope[ENDLESS]  # type: ignore[literal-required]  # a word of the server's own
        watching = asyncio.create_task(watch_reader(receive))
        watching.add_done_callback(lambda _: self._woken.set())
        try:
            with endless.counted(self._woken):
                async for cursor, text in following:
                    if text:
                        await self.tell(cursor, text)
                    else:
                        await self._wait()
                    if self._clock() >= self._beats_at:
                        await self._beat(cursor)
                    if watching.done() or endless.is_over or not self._may_stay:
                        break
        except FellBehind:
            log.debug("a client takes events too slowly and is sent away", client=str(self._scope["client"]))
            return False
        except Refusal:
            pass  # the database is away, and what was missed cannot be read; who comes back gets it
        finally:
            watching.cancel()
        return True

    async def tell(self, cursor: Cursor, text: bytes) -> None:
        """Send a text, after which the reader knows that it has seen so much."""
        await self._send({"type": "http.response.body", "body": text, "more_body": True})
        self._knows = cursor

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._beats_at):
                await self._woken.wait()

    async def _beat(self, cursor: Cursor) -> None:
        """Keep the connection awake, and look whether the reader may still read."""
        self._beats_at = self._clock() + BEAT_SECONDS
        try:
            caller = await self._scope["state"]["callers"].identify(self._scope)
            caller.check_role(ROLE)
        except NotNow:
            pass  # nobody can say; the next time
        except Refusal:
            self._may_stay = False
            return
        # Changes of other things have no events, but whoever comes back has not missed them.
        await self.tell(cursor, b":\n" if cursor == self._knows else b":\nid: %b\n\n" % cursor.as_id())


events = Router("/events", route_handlers=[get_events])
