"""What the service tells about itself: log lines, and the id that ties one to a request."""

import itertools
import logging
import os
import re
import sys

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("sprocket_factory")


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


def configure_logging(level: str) -> None:
    """Send log lines of this level and above to standard error."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-8s %(name)s: %(message)s", force=True
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def request_id_of(scope: Scope) -> str:
    """Return the id of the request in this scope."""
    request_id: str = scope["state"]["request_id"]
    return request_id


def identify_requests(app: ASGIApp, **state: object) -> ASGIApp:
    """Wrap the application so that every request has an id, and every response says it in `X-Request-ID`.

    The caller's own id is kept where it is sane; anything else could forge lines in a log. Every request's state also
    holds what is given here.
    """

    async def identified(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request_id = _next_request_id()
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
                request_id = value
        scope["state"] = {"request_id": request_id.decode(), **state}

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        await app(scope, receive, send_identified)

    return identified
