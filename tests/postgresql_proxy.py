"""A way to a PostgreSQL server that can go silent, or lose a connection at the worst moment: during a COMMIT."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Self

COMMIT = re.compile(rb"COMMIT\0")

Fate = Callable[["Way", bytes], None]
"""What becomes of a COMMIT: it is given the way that it came on, and its bytes."""


class Way:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_deaf = False
        """Whether what the server says is dropped."""
        self.has_answered = threading.Event()

    def cut(self) -> None:
        """Let both sides find the connection gone."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Lets everything through, but for the next COMMIT if it was told what becomes of that."""

    def __init__(self, server_url: str) -> None:
        found = re.fullmatch(r"(.*@)127\.0\.0\.1:(\d+)(/.*)", server_url)
        assert found is not None
        before, port, after = found.groups()
        self.server_port = int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{before}127.0.0.1:{self._listener.getsockname()[1]}{after}"
        self._fate: Fate | None = None
        self.met = threading.Event()
        """Set once a COMMIT has met its fate."""
        self._passing = threading.Event()
        self._passing.set()
        self._threads = [threading.Thread(target=self._accept)]
        self._ways: list[Way] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self.go_on()
        self.refuse_all()
        for thread in self._threads:
            thread.join()
        for way in self._ways:
            way.client.close()
            way.server.close()

    def next_commit(self, fate: Fate) -> None:
        """Let this become of the next COMMIT, and of no other."""
        self.met.clear()
        self._fate = fate

    def be_silent(self) -> None:
        """Let nothing through that comes from either side, as where packets are dropped and sent again in vain."""
        self._passing.clear()

    def go_on(self) -> None:
        """Let everything through again, and what has come meanwhile."""
        self._passing.set()

    def say(self, message: bytes) -> None:
        """Tell every client something that its server has not said."""
        for way in self._ways:
            way.client.sendall(message)

    def refuse_all(self) -> None:
        """Cut every connection and take no more, as if the server were gone."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for way in self._ways:
            way.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                way = Way(client, socket.create_connection(("127.0.0.1", self.server_port)))
                self._ways.append(way)
                for run in (self._to_server, self._to_client):
                    self._threads.append(threading.Thread(target=run, args=(way,)))
                    self._threads[-1].start()

    def _to_server(self, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := way.client.recv(65536):
                self._passing.wait()
                fate = self._fate if COMMIT.search(data) else None
                if fate is None:
                    way.server.sendall(data)
                    continue
                self._fate = None
                fate(way, data)
                self.met.set()
        way.cut()

    def _to_client(self, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := way.server.recv(65536):
                self._passing.wait()
                if not way.is_deaf:
                    way.client.sendall(data)
                else:
                    way.has_answered.set()
        way.cut()


def is_lost(way: Way, _data: bytes) -> None:
    """The COMMIT never arrives."""
    way.cut()


def is_done_unheard(way: Way, data: bytes) -> None:
    """The COMMIT arrives and is done, and the answer to it is lost."""
    do_unheard(way, data)
    way.cut()


def do_unheard(way: Way, data: bytes) -> None:
    """Let the server do what it is told, and keep its answer from the client."""
    way.is_deaf = True
    way.server.sendall(data)
    way.has_answered.wait()


def arrives_after(late: threading.Event) -> Fate:
    """Return what lets the connection be lost at once, and the COMMIT arrive only after this."""

    def fate(way: Way, data: bytes) -> None:
        with contextlib.suppress(OSError):
            way.client.shutdown(socket.SHUT_RDWR)
        late.wait()
        way.server.sendall(data)

    return fate
