"""What a connection may bring, and how long it may take over it: uvicorn's HTTP protocol, with limits.

Time is counted in ticks, one a second, and not by a timer for each request: that costs a request nothing, and a second
in which the service itself was held up is counted once, whoever is waiting.
"""

import asyncio
import re
from typing import Any, Literal, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sprocket_factory.endpoints.endless import ENDLESS, Endless
from sprocket_factory.endpoints.problems import unasked_answer
from sprocket_factory.endpoints.reading import REFUSAL
from sprocket_factory.errors import Busy, Refusal, Stalled, TooLarge, Unreadable
from sprocket_factory.observe import log
from sprocket_factory.server_limits import Limits, Pace
from sprocket_factory.server_transport import CorkedTransport, Cycle

LARGE_PIECE = 8 * 1024

MAX_UNWANTED_BYTES = 1024 * 1024
"""A body that was refused may be sent to its end, so that its sender reads the refusal; but not for ever."""

MAX_PIPELINED = 100
"""Requests that a client may send ahead of the answers. Each takes some kilobytes until its turn comes."""

_HOST = re.compile(rb"[0-9A-Za-z!$&'()*+,;=._~:\[\]@%-]*")

RESERVED = 64
"""Connections beyond the limit that are held long enough to be told so."""

Phase = Literal["waiting", "head", "body", "answer"]
"""What is going on: no request has begun, its head is coming, its body is coming, all of it is here."""


class State(ServerState):
    """What the connections of one server share."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.waiting: dict[LimitedProtocol, None] = {}
        """Those with nothing to answer just now, from the one that waits longest."""
        self.sending: set[LimitedProtocol] = set()
        """Those who are being answered and whose body is still on its way."""
        self.endless = Endless()


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    server_state: State
    transport: CorkedTransport  # type: ignore[assignment]  # it stands for one

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._limits = self.server_state.limits
        self._large = min(LARGE_PIECE, self._limits.max_header_bytes)
        self._running: RequestResponseCycle | None = None
        self._phase: Phase = "waiting"
        self._seconds = 0
        self._is_over = False
        self._is_large = False
        self._hosts = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._beside_bytes = 0
        self._unwanted_bytes = 0
        self._pace_of_sender: Pace | None = None
        self._pace_of_reader: Pace | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin a connection. Where there are too many, the one that has waited longest makes room."""
        super().connection_made(cast("asyncio.Transport", CorkedTransport(transport, self.loop, self._still_sends)))
        self.server_state.waiting[self] = None
        if len(self.connections) > self._limits.max_connections:
            self._is_over = True
            longest = next(iter(self.server_state.waiting))
            if longest._seconds or len(self.connections) > self._limits.max_connections + RESERVED:  # noqa: SLF001 - one of its own kind
                longest.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self.server_state.waiting.pop(self, None)
        self.server_state.sending.discard(self)
        super().connection_lost(exc)
        # Uvicorn tells the last request alone, and an answer before it would go on to nobody.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def make_room(self) -> None:
        """End a connection that waits, for somebody who has something to ask."""
        self.server_state.waiting.pop(self, None)
        self.connections.discard(self)  # from now on, and not only once the system has closed it
        if self.transport.untaken_bytes():
            self.transport.abort()
        else:
            self.transport.close()

    def tick(self) -> None:
        """Take note that a second has gone by, and give up a client who has used up its time."""
        self._seconds += 1
        if self.transport.untaken_bytes():
            self._watch_reader()
        else:
            self._pace_of_reader = None
            if self._phase == "waiting" and self._seconds > self._limits.keep_alive_seconds:
                self.transport.close()
            elif self._phase == "head" and self._seconds > self._limits.head_seconds and not self._owes_answers():
                self.transport.write(unasked_answer(Stalled("The head of the request did not come in time.")))
                self.transport.close()
        if self._phase == "body":
            self._watch_sender()

    def _watch_reader(self) -> None:
        self._seconds = 0 if self._phase == "waiting" else self._seconds
        if self._pace_of_reader is None:
            self._pace_of_reader = Pace(self._limits, self.transport.taken_bytes())
        elif self._pace_of_reader.is_lost(self.transport.taken_bytes()):
            log.debug("a client takes its answer too slowly and is cut off", client=str(self.client))
            self.transport.abort()

    def _watch_sender(self) -> None:
        if self._pace_of_sender is None or self.flow.read_paused:  # it is the service itself that is slow
            self._pace_of_sender = Pace(self._limits, self._body_bytes)
        elif self._pace_of_sender.is_lost(self._body_bytes):
            self._pace_of_sender = None
            self._give_up_body(Stalled("The body did not come in time."))

    def _give_up_body(self, refusal: Refusal) -> None:
        """Let whoever reads the body raise this; where an answer is on its way already, the connection ends."""
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            cast("dict[str, Any]", self.cycle.scope)[REFUSAL] = refusal
            self.cycle.message_event.set()

    def _owes_answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _still_sends(self) -> bool:
        return self._phase == "body"

    def data_received(self, data: bytes) -> None:
        """Take what has come, within the limits."""
        if self.transport.is_closing():
            self._let_go(data)
            return
        body_bytes = self._body_bytes
        self._is_large = len(data) > self._large or self._head_bytes > 0
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("This is no HTTP request, or its head is too large or malformed.")
            return
        if self._phase == "head":
            # A head that does not end is given up: the parser would put it together again with each piece.
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_header_bytes:
                self.send_400_response("The head of the request is too large.")
        elif self._phase == "body":
            if not self.cycle.response_complete:
                self.server_state.sending.add(self)
            # What belongs to no data is the sizes of chunks, extensions, and trailers, none of which anybody reads.
            self._beside_bytes = 0 if self._body_bytes > body_bytes else self._beside_bytes + len(data)
            if self._beside_bytes > self._limits.max_header_bytes:
                self._give_up_body(TooLarge("The body has more trailers or extensions than are read here."))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # Nothing else is spoken here, and a client that offers it goes on in HTTP/1.1 (RFC 9110, 7.8).
            if rest := data[offer.args[0] :]:
                self._parse(rest)

    def _let_go(self, data: bytes) -> None:
        self._unwanted_bytes += len(data)
        if self._unwanted_bytes > MAX_UNWANTED_BYTES:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and end the connection. What was asked before is answered before."""
        log.debug("a client sent what cannot be read", client=str(self.client), reason=msg)
        if self.transport.is_closing():
            return
        if self._phase == "body":
            self._give_up_body(Unreadable("The body is not framed as HTTP is."))
        elif self._owes_answers():
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._phase = "head"
        self._seconds = 0
        self._hosts = 0
        self._head_bytes = 0
        self._beside_bytes = 0
        self._unwanted_bytes = 0
        self._pace_of_sender = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is dropped: whoever checks headers has done so before it comes."""
        if self._phase != "head":
            return
        name = name.lower()
        if name == b"host":
            if _HOST.fullmatch(value) is None:
                raise ValueError("This names no host.")
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or self.parser.get_http_version() != "1.1"):
            raise ValueError("This transfer coding is not read here.")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer. Raises ValueError, which makes the answer a plain 400, where the head is wrong."""
        if len(self.headers) > self._limits.max_headers or (
            self._is_large and self._size_of_head() > self._limits.max_header_bytes
        ):
            raise ValueError("The head of the request is too large.")
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise ValueError("A request names one host.")
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise ValueError("This is asked too far ahead.")
        if self._is_one_too_many():
            refusal = Busy("The service has as much to do as it can.", hint="Try again in a moment.")
            cast("dict[str, Any]", self.scope)[REFUSAL] = refusal
        cast("dict[str, Any]", self.scope)[ENDLESS] = self.server_state.endless
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # uvicorn asks nobody which one to make
        self._phase = "body"
        self.server_state.waiting.pop(self, None)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _is_one_too_many(self) -> bool:
        self._is_over = self._is_over and len(self.connections) > self._limits.max_connections
        # A body that is still coming keeps nobody from being served, nor does an answer that goes on for ever.
        under_way = len(self.tasks) - len(self.server_state.sending) - len(self.server_state.endless)
        return self._is_over or under_way >= self._limits.max_requests

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body. What comes after a refusal is let go of, and a sender who goes on is cut off."""
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._let_go(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that all of a request is here."""
        self.server_state.sending.discard(self)
        self._seconds = 0
        self._phase = "waiting" if self.cycle.response_complete else "answer"
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next answer, or wait. As uvicorn's own, but without a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self.server_state.sending.discard(self)
        self.server_state.waiting[self] = None
        self._seconds = 0
        if self._phase == "answer":
            self._phase = "waiting"
