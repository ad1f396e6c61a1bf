"""Ask a server over HTTP/1.1 as fast as it answers, on connections that stay open, and say how it went.

The asking is a process of its own (`python -m benchmarks.load --help`), so that its work is not counted as the
server's. Each connection sends its next request when the last one is answered: a closed loop, nothing is pipelined.
"""

import argparse
import asyncio
import gc
import math
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import httptools
import msgspec
import uvloop

# Seconds that a server may take over the answers it still owes when the time is up.
GRACE = 30.0
STARTED = "started"
ROOT = Path(__file__).resolve().parents[1]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    `seconds` is from the first request sent to the last answer read. `p50`, `p99`, `p999` and `longest` are latencies
    in seconds, from sending a request to the end of its answer. `statuses` counts the answers of each status, `broken`
    the connections that ended before their last answer. `cpu` is the processor time in seconds that the asking took:
    where it comes near to `seconds`, the server could have answered more.
    """

    seconds: float
    cpu: float
    statuses: dict[int, int]
    broken: int
    p50: float
    p99: float
    p999: float
    longest: float


class Plan(msgspec.Struct, kw_only=True):
    """What the connections of one run share: what is left to send, and what came back.

    `left` is a number of requests; `ends_at` and `last_at` are times of `time.perf_counter`, in seconds.
    """

    requests: "cycle[bytes]"
    left: float
    ends_at: float = math.inf
    last_at: float = 0.0
    latencies: "array[float]" = msgspec.field(default_factory=lambda: array("d"))
    statuses: dict[int, int] = {}
    broken: int = 0

    def stop(self) -> None:
        """Send nothing more. The answers still owed are waited for."""
        self.left = 0


class Connection(asyncio.Protocol):
    """One connection with at most one request under way.

    It sends nothing before `send_next`, so that all the connections of a run stand before any of them asks.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        self.transport = transport  # type: ignore[assignment]  # create_connection always gives a Transport

    def send_next(self) -> None:
        """Send the next request, or close if the run is over."""
        self.sent_at = time.perf_counter()
        if self.plan.left <= 0 or self.sent_at >= self.plan.ends_at:
            self.over.set_result(None)
            self.transport.close()
        else:
            self.plan.left -= 1
            self.transport.write(next(self.plan.requests))

    def data_received(self, data: bytes) -> None:
        """Read on. httptools finds the end of an answer by its Content-Length or its chunks."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Count one whole answer. Called by the parser."""
        plan = self.plan
        status = self.parser.get_status_code()
        plan.last_at = time.perf_counter()
        plan.latencies.append(plan.last_at - self.sent_at)
        plan.statuses[status] = plan.statuses.get(status, 0) + 1
        self.send_next()

    def connection_lost(self, _: Exception | None) -> None:
        """Notice a connection that ended too early."""
        if not self.over.done():
            self.plan.broken += 1
            self.over.set_result(None)


def start_load(port: int, paths: Sequence[str], *extra: str) -> "subprocess.Popen[str]":
    """Start to load a server in another process, and return when all its connections stand.

    `extra` goes to its command line. Raises RuntimeError if it cannot connect.
    """
    argv = [sys.executable, "-m", "benchmarks.load", "--port", str(port), *extra, *paths]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline() if process.stdout else ""
    if first.strip() != STARTED:
        raise RuntimeError(f"The load on port {port} could not start; it ended with {process.wait()}.")
    return process


def finish_load(process: "subprocess.Popen[str]", *also: int) -> Load:
    """Wait for the end of a load and return what came of it.

    Raises RuntimeError if any answer was neither 2xx nor one of `also`, or any connection broke: such a run measures
    nothing.
    """
    output, _ = process.communicate()
    load = msgspec.json.decode(output, type=Load)
    if load.broken or any(not is_success(status) and status not in also for status in load.statuses):
        raise RuntimeError(f"Answers by status: {load.statuses}, broken connections: {load.broken}.")
    return load


def is_success(status: int) -> bool:
    """Tell whether a status is 2xx."""
    return status // 100 == 2  # noqa: PLR2004  # the 2 of 2xx


def count_answers(load: Load) -> int:
    """Return how many requests were answered, whatever the status."""
    return sum(load.statuses.values())


def find_rate(load: Load) -> float:
    """Return the answers per second."""
    return count_answers(load) / load.seconds


def build_request(method: str, path: str, body: bytes, key: str = "") -> bytes:
    """Return the bytes of one request; a body is taken for JSON."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def find_percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed (nearest rank), 0 if there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


async def ask(requests: Sequence[bytes], port: int, connections: int, seconds: float, at_most: float) -> Load:
    """Ask 127.0.0.1 for so many seconds or requests, whichever ends first, and read every answer owed.

    SIGTERM ends the asking at once.
    """
    plan = Plan(requests=cycle(requests), left=at_most)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, plan.stop)
    opened = []
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: Connection(plan), "127.0.0.1", port)
        opened.append(connection)
    print(STARTED, flush=True)
    started_at = time.perf_counter()
    cpu_before = time.process_time()
    plan.ends_at = started_at + seconds
    for connection in opened:
        connection.send_next()
    _, unanswered = await asyncio.wait([connection.over for connection in opened], timeout=seconds + GRACE)
    cpu = time.process_time() - cpu_before
    ordered = sorted(plan.latencies)
    return Load(
        seconds=max(plan.last_at - started_at, sys.float_info.epsilon),
        cpu=cpu,
        statuses=plan.statuses,
        broken=plan.broken + len(unanswered),
        p50=find_percentile(ordered, 0.5),
        p99=find_percentile(ordered, 0.99),
        p999=find_percentile(ordered, 0.999),
        longest=find_percentile(ordered, 1.0),
    )


def main() -> None:
    """Run as a program: print a line when all connections stand, and one JSON object at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Load a server on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--requests", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--body", default="", help="a JSON text")
    parser.add_argument("--key", default="", help="sent with every request")
    parser.add_argument("paths", nargs="+", help="asked for in turn")
    options = parser.parse_args()
    if options.seconds == options.requests == math.inf:
        parser.error("one of --seconds and --requests is needed")
    # Nothing here makes cycles, and a collection would be read as a slow server.
    gc.disable()
    requests = [build_request(options.method, path, options.body.encode(), options.key) for path in options.paths]
    load = uvloop.run(ask(requests, options.port, options.connections, options.seconds, options.requests))
    print(msgspec.json.encode(load).decode())


if __name__ == "__main__":
    main()
