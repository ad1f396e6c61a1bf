"""How a whole list goes out: at once where it is short, else as its reader takes it.

The server cuts off a reader who takes too little. But whoever takes enough and no more could hold a snapshot for hours,
and with it the database's log; so there is a time for the whole, and nobody has all the places.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.access.callers import counted_as
from sprocket_factory.access.limits import Places
from sprocket_factory.endpoints.answers import Answer, Header
from sprocket_factory.endpoints.formats import Format
from sprocket_factory.observe import log

MAX_WHOLE_ROWS = 1000
"""A list of up to so many rows is answered at once, and has an ETag."""


class Listers:
    """Who is reading whole lists."""

    def __init__(self, most: int, seconds: int) -> None:
        """Allow one caller half of so many, which the database itself sees to, and so long for each."""
        self.seconds = seconds
        self.places = Places(most, "You read {} whole lists already.", hint="Read them to their end first.")


async def stream_answer(chunks: AsyncGenerator[list[Any]], format_: Format, headers: Sequence[Header]) -> ASGIApp:
    """Answer a list in a format. What is refused before a list is long is refused here."""
    begun: list[list[Any]] = []
    async for chunk in chunks:
        begun.append(chunk)
        if sum(map(len, begun)) > MAX_WHOLE_ROWS:
            return _Streamed(begun, chunks, format_, headers)
    rows = begun[0] if len(begun) == 1 else list(chain.from_iterable(begun))
    return Answer(format_.whole(rows), media_type=format_.media_type.encode(), headers=headers)


class _Streamed:
    """A list that is sent as it is read. It ends as if whole only if it is."""

    def __init__(
        self, begun: list[list[Any]], rest: AsyncGenerator[list[Any]], format_: Format, headers: Sequence[Header]
    ) -> None:
        self._begun = begun
        self._rest = rest
        self._format = format_
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        listers: Listers = state["listers"]
        headers = [(b"content-type", self._format.media_type.encode()), *self._headers]
        async with aclosing(self._rest):
            with listers.places.place_for(counted_as(state["caller"], scope)):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if scope.get("method") != "HEAD" and not await self._send_bodies(scope, receive, send):
                    return  # without an end, so the server breaks the connection off, and nobody takes it for whole
        await send({"type": "http.response.body", "body": self._format.end(), "more_body": False})

    async def _send_bodies(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send the rows, and return whether somebody has taken all of them in time."""
        loop = asyncio.get_running_loop()
        seconds = scope["state"]["listers"].seconds
        ends_at = loop.time() + seconds
        watching = asyncio.ensure_future(watch_reader(receive))
        try:
            async for body in self._bodies():
                if watching.done():
                    return False  # nobody reads any more, and sending would not tell
                if loop.time() > ends_at:
                    log.warning("a list was not read in time", seconds=seconds)
                    return False
                await send({"type": "http.response.body", "body": body, "more_body": True})
            return True
        finally:
            watching.cancel()

    async def _bodies(self) -> AsyncGenerator[bytes]:
        first, *others = self._begun
        yield self._format.begin() + self._format.rows(first, first=True)
        for chunk in others:
            yield self._format.rows(chunk, first=False)
        async for chunk in self._rest:
            yield self._format.rows(chunk, first=False)


async def watch_reader(receive: Receive) -> None:
    """Return once the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
