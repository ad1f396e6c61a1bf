"""What goes out: one thing, encoded, with its headers."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

JSON = b"application/json"

encode = msgspec.json.Encoder().encode


class Answer:
    """A whole answer, ready to send."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(
        self, thing: Any, *, status: int = 200, media_type: bytes = JSON, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self._body = thing if isinstance(thing, bytes) else encode(thing)
        self._status = status
        self._headers = (
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(self._body)),
            *headers,
        )

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def created(thing: Any, location: str) -> ASGIApp:
    """Answer that a thing was created, and where it is."""
    return Answer(thing, status=201, headers=[(b"location", location.encode())])
