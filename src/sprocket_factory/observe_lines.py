"""How log lines get out: at once, or behind the back of who writes them."""

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from sprocket_factory.observe_metrics import lost_lines

GATHER_SECONDS = 0.05
"""So long lines wait for others to be written with. A crash of the interpreter itself loses as much; kill -9 too."""

MAX_WAITING = 5_000
"""Of more lines that nobody takes, the newest are let go of, and counted."""

END_SECONDS = 2.0
"""How long whoever reads the lines has to take the last of them."""

ATOMIC_BYTES = getattr(select, "PIPE_BUF", 4096)
"""What is written to a pipe at once, and is no longer, is not mixed with what other processes write."""


class Lines:
    """What log lines are given to: made already, or as what `encode` makes many lines of at once."""

    def __init__(self, encode: Callable[[list[Any]], bytes]) -> None:
        self._encode = encode
        self._is_shared = False
        self._waiting: deque[Any] = deque()
        self._something = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._is_stuck = False
        self._lost = 0

    def write(self, line: Any) -> None:
        """Write a line, or have it written: bytes, or what can be encoded."""
        if self._thread is None:
            if not self._is_stuck:
                _write_now(line if isinstance(line, bytes) else self._encode([line]))
        elif len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            lost_lines.inc()
        else:
            self._waiting.append(line)
            if not self._something.is_set():
                self._something.set()

    def begin_behind(self, tell_lost: Callable[[int], None], *, is_shared: bool) -> None:
        """Let a thread write from now on. A pipe that nobody reads would hold up every request otherwise.

        Args:
            tell_lost: Is told how many lines were lost, once others are taken again.
            is_shared: Other processes write to the same place.
        """
        sys.stderr.flush()
        self._is_shared = is_shared
        self._ending = False
        self._thread = threading.Thread(target=self._run, args=[tell_lost], name="log-lines", daemon=True)
        self._thread.start()

    def end_behind(self) -> None:
        """Write what waits, and from now on at once again; or nothing more, where nobody takes it."""
        if self._thread is not None:
            self._ending = True
            self._something.set()
            self._thread.join(END_SECONDS)
            self._is_stuck = self._thread.is_alive()
            self._thread = None

    def _run(self, tell_lost: Callable[[int], None]) -> None:
        is_last = False
        while not is_last:
            self._something.wait()
            if not self._ending:
                time.sleep(GATHER_SECONDS)
            self._something.clear()  # before it is looked at: what comes now is seen the next time
            is_last = self._ending
            for text in self._texts():
                for piece in _pieces(text, ATOMIC_BYTES if self._is_shared else len(text)):
                    _write_whole(piece)
            if self._lost:
                lost, self._lost = self._lost, 0
                tell_lost(lost)

    def _texts(self) -> Iterator[bytes]:
        """Give what waits, in its order; of what has to be encoded many lines at once, which is cheap."""
        unencoded: list[Any] = []
        for _ in range(len(self._waiting)):
            line = self._waiting.popleft()
            if not isinstance(line, bytes):
                unencoded.append(line)
                continue
            if unencoded:
                yield self._encode(unencoded)
                unencoded = []
            yield line
        if unencoded:
            yield self._encode(unencoded)


def _pieces(text: bytes, at_most: int) -> Iterator[bytes]:
    """Give whole lines, in pieces no longer than this, unless a line is."""
    begin = 0
    while begin < len(text):
        end = text.rfind(b"\n", begin, begin + at_most) + 1 or text.find(b"\n", begin) + 1
        yield text[begin:end]
        begin = end


def _write_now(line: bytes) -> None:
    try:
        sys.stderr.write(line.decode())
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        lost_lines.inc()  # nobody reads them any more, or there is no standard error


def _write_whole(piece: bytes) -> None:
    """Write to standard error, for as long as it takes."""
    rest = memoryview(piece)
    try:
        descriptor = sys.stderr.fileno()
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
    except (OSError, ValueError, AttributeError):
        lost_lines.inc(piece.count(b"\n"))
