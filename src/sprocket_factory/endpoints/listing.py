"""How a list goes out: whole, however long it is."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.endpoints.answers import JSON, Answer, encode

STALLED_SECONDS = 30
"""A reader that takes nothing for so long is given up: its snapshot holds back the database's log."""


async def whole_list(chunks: AsyncGenerator[list[Any]]) -> ASGIApp:
    """Answer a list as one JSON array: at once where it is short, else in chunks as the reader takes them."""
    first: list[Any] = await anext(chunks, [])
    second = await anext(chunks, None)
    if second is None:
        return Answer(first)
    return _StreamedList([first, second], chunks)


class _StreamedList:
    """A JSON array that is sent as it is read. It ends as if whole only if it is."""

    def __init__(self, begun: list[list[Any]], rest: AsyncGenerator[list[Any]]) -> None:
        self._begun = begun
        self._rest = rest

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", JSON)]})
            if scope.get("method") != "HEAD":
                await self._send_chunks(send)
        await send({"type": "http.response.body", "body": b"]", "more_body": False})

    async def _send_chunks(self, send: Send) -> None:
        before = b"["
        for chunk in self._begun:
            await _send_chunk(send, before, chunk)
            before = b","
        async for chunk in self._rest:
            await _send_chunk(send, before, chunk)


async def _send_chunk(send: Send, before: bytes, chunk: list[Any]) -> None:
    async with asyncio.timeout(STALLED_SECONDS):
        await send({"type": "http.response.body", "body": before + encode(chunk)[1:-1], "more_body": True})
