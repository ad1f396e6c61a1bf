"""What the baselines share as programs: the ASGI interface by hand, and uvicorn under the product's settings."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def read_whole(receive: Receive) -> bytes:
    """Read a request's body, almost always one message."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body


async def answer_json(send: Send, status: int, body: bytes) -> None:
    """Send one answer whole."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def read_options(what: str) -> argparse.Namespace:
    """Return what the program was started with: the port, and the file or address of the database."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    return parser.parse_args()


def configure(application: Any, port: int) -> uvicorn.Config:
    """Return the settings of uvicorn that a production server has."""
    return uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


def run(build: Callable[[Path], Any], what: str) -> None:
    """Serve `build(database)` until a signal ends it."""
    options = read_options(what)
    uvicorn.Server(configure(build(Path(options.database)), options.port)).run()
