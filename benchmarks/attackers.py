"""Trouble a server on 127.0.0.1: slow clients, and somebody who guesses keys.

They run in a process of their own (`python -m benchmarks.attackers --help`) until SIGTERM, then it prints one JSON
object. They are made cheap: they share the server's cores, and what is measured is what they cost *it*.
"""

import argparse
import asyncio
import re
import secrets
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import msgspec
import uvloop

from benchmarks.load import STARTED

PRODUCTION = "/sprocketFactory/v1/production"
ME = "/sprocketFactory/v1/me"
# Connections that guess, each from an address of its own: those of one address would only be told to wait.
GUESSERS = 20
# Keys that each of them tries ahead of the answers.
AHEAD = 10
# What a slow client sends or takes in a second.
TRICKLE = 1
# Slow clients that do their little together: each time this process wakes up it takes a core from somebody.
TOGETHER = 10
SIP = 100
# Seconds in which the server has to put up with all slow clients.
PATIENCE = 30
# Clients that read a whole list: more than these of one caller are refused, and whoever is refused is not slow.
LISTERS = 4
TAKEN = b"HTTP/1.1 200 "


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    `guesses` counts the answers to guesses by status. Of each kind of slow client, `slow` says how many the server put
    up with at the end, and `cut_off` how often one was refused or cut off.
    """

    seconds: float
    guesses: dict[int, int]
    slow: dict[str, int]
    cut_off: dict[str, int]


class Slow:
    """A client that takes its time, and begins again when it is refused or cut off.

    With a trickle it sends, else it reads. It `is_slow` while the server waits for more of it, or has begun to answer.
    """

    def __init__(self, kind: str, port: int, opening: bytes, trickle: bytes) -> None:
        self.kind = kind
        self._port = port
        self._opening = opening
        self._trickle = trickle
        self.is_slow = bool(trickle)
        self._connection = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self._port))
        connection.sendall(self._opening)
        connection.settimeout(0)
        return connection

    def go_on(self) -> bool:
        """Do as little as possible, and return whether the server still puts up with it."""
        try:
            if self._trickle:
                self._connection.send(self._trickle)
            sip = self._connection.recv(SIP)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self._trickle:
            return False  # it listens as well: an answer before the end is a refusal
        self.is_slow = self.is_slow or sip.startswith(TAKEN)
        return bool(sip) and self.is_slow

    def begin_again(self) -> None:
        """Come back."""
        self._connection.close()
        self._connection = self._connect()
        self.is_slow = bool(self._trickle)


class Guesser(asyncio.Protocol):
    """A connection that tries one key after the other."""

    def __init__(self, statuses: "Counter[int]") -> None:
        self._statuses = statuses
        self._unanswered = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        self.transport = transport  # type: ignore[assignment]  # create_connection always gives a Transport

    def guess(self) -> None:
        """Try a key, unless too many tries are not answered yet."""
        if self._unanswered >= AHEAD:
            return
        self._unanswered += 1
        key = secrets.token_urlsafe(32)
        self.transport.write(f"GET {ME} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sfk_{key}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count answers; they are short, and none is cut in two."""
        for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data):
            self._unanswered -= 1
            self._statuses[int(status)] += 1


def list_slow(port: int, count: int, key: str) -> list[Slow]:
    """Return so many slow clients: a few that read whole lists, and as many each of heads, bodies, bulk and pages."""
    auth = f"Authorization: Bearer {key}\r\n"
    kinds: list[Callable[[], Slow]] = [
        lambda: Slow("head", port, f"GET {ME} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode(), b"a" * TRICKLE),
        lambda: Slow("body", port, _post(auth, "application/json", "Content-Length: 100000"), b" " * TRICKLE),
        lambda: Slow("bulk", port, _post(auth, "text/csv", "Content-Length: 100000000"), b"\n" * TRICKLE),
        lambda: Slow("page", port, _get(auth, "?limit=3000"), b""),
    ]
    listers = [Slow("list", port, _get(auth, ""), b"") for _ in range(min(LISTERS, count))]
    return listers + [kinds[number % len(kinds)]() for number in range(count - len(listers))]


def _post(auth: str, media_type: str, length: str) -> bytes:
    return f"POST {PRODUCTION} HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: {media_type}\r\n{length}\r\n\r\n".encode()


def _get(auth: str, query: str) -> bytes:
    return f"GET {PRODUCTION}{query} HTTP/1.1\r\nHost: x\r\n{auth}\r\n".encode()


async def guess_for_ever(port: int, rate: float, statuses: "Counter[int]") -> None:
    """Try so many keys a second."""
    loop = asyncio.get_running_loop()
    guessers = []
    for number in range(GUESSERS):
        _, guesser = await loop.create_connection(
            lambda: Guesser(statuses), "127.0.0.1", port, local_addr=(f"127.0.1.{number + 1}", 0)
        )
        guessers.append(guesser)
    next_at = loop.time()
    while True:
        for guesser, other in pairwise(guessers):
            guesser.guess()
            other.guess()
            next_at += 2 / rate
            await asyncio.sleep(next_at - loop.time())


async def dawdle_for_ever(slow: list[Slow], cut_off: "Counter[str]", are_slow: asyncio.Event) -> None:
    """Let every slow client do its little within each second, some at a time, and tell when all of them are slow."""
    loop = asyncio.get_running_loop()
    next_at = loop.time()
    while True:
        for place in range(0, len(slow), TOGETHER):
            for client in slow[place : place + TOGETHER]:
                if not client.go_on():
                    cut_off[client.kind] += 1
                    client.begin_again()
            next_at += TOGETHER / len(slow)
            await asyncio.sleep(max(0.0, next_at - loop.time()))
        if all(client.is_slow for client in slow):
            are_slow.set()


async def trouble(port: int, slow_clients: int, rate: float, key: str) -> Trouble:
    """Let clients be slow, begin to guess when all of them are, and go on until SIGTERM.

    Until then most is asked for, and costs as much as if they were not slow. Raises TimeoutError if the server does not
    put up with all of them.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    statuses: Counter[int] = Counter()
    cut_off: Counter[str] = Counter()
    slow = list_slow(port, slow_clients, key)
    are_slow = asyncio.Event()
    tasks = [loop.create_task(dawdle_for_ever(slow, cut_off, are_slow))]
    async with asyncio.timeout(PATIENCE):
        await are_slow.wait()
    began_at = loop.time()
    tasks.append(loop.create_task(guess_for_ever(port, rate, statuses)))
    print(STARTED, flush=True)
    await asyncio.wait([loop.create_task(over.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
    seconds = loop.time() - began_at
    for task in tasks:
        if task.done():
            task.result()  # it has failed: such a measurement means nothing
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    still_slow = Counter(client.kind for client in slow if client.go_on() and client.is_slow)
    return Trouble(seconds=seconds, guesses=dict(statuses), slow=dict(still_slow), cut_off=dict(cut_off))


def main() -> None:
    """Run as a program: print a line when all slow clients are slow, and one JSON object at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attackers", description="Trouble a server.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slow", type=int, default=500, help="clients that take their time")
    parser.add_argument("--rate", type=float, default=1000, help="wrong keys a second")
    parser.add_argument("--key", required=True, help="of a role that may write: slow clients carry it")
    options = parser.parse_args()
    if options.slow < 1:
        parser.error("--slow has to be at least 1")
    print(msgspec.json.encode(uvloop.run(trouble(options.port, options.slow, options.rate, options.key))).decode())


if __name__ == "__main__":
    main()
