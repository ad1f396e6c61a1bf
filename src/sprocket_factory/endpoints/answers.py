"""What goes out: one thing, encoded, with its headers and its version."""

from collections.abc import Sequence
from typing import Any

from litestar.enums import HttpMethod
from litestar.types import Receive, Scope, Send

from sprocket_factory.endpoints.conditions import is_known
from sprocket_factory.entities.version import digest_of, encode

JSON = b"application/json"

Header = tuple[bytes, bytes]


class Answer:
    """A whole answer, ready to send: again and again the same, so it has an ETag."""

    __slots__ = ("body", "etag", "headers", "status")

    def __init__(
        self, thing: Any, *, status: int = 200, media_type: bytes = JSON, headers: Sequence[Header] = ()
    ) -> None:
        self.body: bytes = thing if isinstance(thing, bytes) else encode(thing)
        self.status = status
        self.etag = b'"%s"' % digest_of(self.body).encode()
        self.headers = (
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"etag", self.etag),
            *headers,
        )

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it; or nothing but its version, where a reader has that already."""
        status, headers, body = self.status, self.headers, self.body
        if status == OK and scope.get("method") in READING and is_known(scope, self.etag):
            status, headers, body = 304, self.headers[2:], b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


OK = 200

READING = frozenset({HttpMethod.GET, HttpMethod.HEAD})


def stored(thing: Any, location: str, *, is_new: bool) -> Answer:
    """Answer that a thing is stored; and where it is, if it was not there before."""
    return Answer(thing, status=201, headers=[(b"location", location.encode())]) if is_new else Answer(thing)


class NoContent:
    """An answer that it is done, and there is nothing to say of it but these headers."""

    def __init__(self, headers: Sequence[Header] = ()) -> None:
        self._headers = headers

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 204, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


no_content = NoContent()


class SeeOther:
    """An answer that what was asked for is elsewhere; and what else a browser is to keep."""

    def __init__(self, location: str, headers: Sequence[Header] = ()) -> None:
        self._headers = ((b"location", location.encode("latin-1")), (b"content-length", b"0"), *headers)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 303, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
