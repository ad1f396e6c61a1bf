"""Start a server on a free port of 127.0.0.1, see what it costs, stop it. Linux only: the costs are read from /proc."""

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

PATIENCE = 30.0
SAMPLE_EVERY = 0.02
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A running server: its port on 127.0.0.1 and the process at the root of its tree."""

    port: int
    pid: int


class Memory(msgspec.Struct):
    """Resident memory of a process tree in bytes: when watching began, and the most since."""

    before: int
    peak: int


def find_free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    """Tell whether GET of this path is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    """Return when the server answers.

    Raises RuntimeError with the end of its log if it ends or takes over 30 seconds.
    """
    give_up_at = time.monotonic() + PATIENCE
    while not answers(port, path):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"The server does not answer {path} on port {port}.\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server to end, and after 30 seconds make it, with all its children."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serve(
    argv_for: Callable[[int], Sequence[str]], environment: Mapping[str, str], folder: Path, path: str
) -> Iterator[Server]:
    """Run the server that `argv_for(port)` starts, inside `folder`, to the end of the block.

    The block begins when GET `path` is answered.
    """
    port = find_free_port()
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        # A session of its own, so that its children can be ended with it.
        process = subprocess.Popen(
            argv_for(port), env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_it_answers(process, port, path, log)
        yield Server(port=port, pid=process.pid)
    finally:
        stop(process)


def list_tree(pid: int) -> list[int]:
    """Return this process and all its descendants that live."""
    tree = [pid]
    for parent in tree:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            # A member that ends while it is looked at has no more to say, here and below.
            with suppress(OSError):
                tree.extend(int(child) for child in children.read_text().split())
    return tree


def measure_cpu(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process tree has taken, with its threads and ended children."""
    ticks = 0
    for member in list_tree(pid):
        with suppress(OSError):
            after_name = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            # utime, stime, cutime, cstime, fields 14 to 17 of proc(5): the last two are of children that ended.
            ticks += sum(int(field) for field in after_name[11:15])
    return ticks / TICKS_PER_SECOND


def measure_memory(pid: int) -> int:
    """Return the resident memory of a process tree in bytes. What its members share counts for each."""
    kibibytes = 0
    for member in list_tree(pid):
        with suppress(OSError):
            status = Path(f"/proc/{member}/status").read_text()
            kibibytes += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return kibibytes * 1024


@contextmanager
def watch_memory(pid: int) -> Iterator[Memory]:
    """Sample the resident memory of a process tree every 20 ms in a thread, to the end of the block."""
    now = measure_memory(pid)
    memory = Memory(now, now)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_EVERY):
            memory.peak = max(memory.peak, measure_memory(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()
        memory.peak = max(memory.peak, measure_memory(pid))
