"""How a whole list goes out: at once where it is short, else as its reader takes it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.endpoints.answers import Answer, Header
from sprocket_factory.endpoints.formats import Format
from sprocket_factory.observe import log, request_id_of

STALLED_SECONDS = 30
"""A reader that takes nothing for so long is given up: its snapshot holds back the database's log."""


MAX_WHOLE_ROWS = 1000
"""A list of up to so many rows is answered at once, and has an ETag."""


async def stream_answer(chunks: AsyncGenerator[list[Any]], format_: Format, headers: Sequence[Header]) -> ASGIApp:
    """Answer a list in a format. What is refused before a list is long is refused here."""
    begun: list[list[Any]] = []
    while sum(map(len, begun)) <= MAX_WHOLE_ROWS:
        chunk = await anext(chunks, None)
        if chunk is None:
            rows = [row for chunk in begun for row in chunk]
            return Answer(format_.whole(rows), media_type=format_.media_type.encode(), headers=headers)
        begun.append(chunk)
    return _Streamed(begun, chunks, format_, headers)


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
        headers = [(b"content-type", self._format.media_type.encode()), *self._headers]
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope.get("method") != "HEAD":
                watching = asyncio.ensure_future(_watch(receive))
                try:
                    async for body in self._bodies():
                        if watching.done():
                            return  # nobody reads any more, and sending would not tell
                        await _send(send, body)
                except TimeoutError:
                    # Without an end the server breaks the connection off, and nobody takes the list for whole.
                    log.warning("request %s: its reader took nothing for %s s", request_id_of(scope), STALLED_SECONDS)
                    return
                finally:
                    watching.cancel()
        await send({"type": "http.response.body", "body": self._format.end(), "more_body": False})

    async def _bodies(self) -> AsyncGenerator[bytes]:
        first, *others = self._begun
        yield self._format.begin() + self._format.rows(first, first=True)
        for chunk in others:
            yield self._format.rows(chunk, first=False)
        async for chunk in self._rest:
            yield self._format.rows(chunk, first=False)


async def _watch(receive: Receive) -> None:
    """Return once the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes) -> None:
    async with asyncio.timeout(STALLED_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": True})
