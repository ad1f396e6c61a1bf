"""Several processes that serve on one listening socket, and the parent that looks after them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import click

from sprocket_factory.errors import Refusal
from sprocket_factory.observe import log

PAUSE_SECONDS = 1.0
"""A worker that ends at once is not started again without a pause."""

STOPPING = (signal.SIGINT, signal.SIGTERM)


def run_workers(count: int, work: Callable[[], None], announcement: str) -> None:
    """Run `work` in so many processes until SIGINT or SIGTERM; one that ends by itself is replaced.

    Must be called before there are threads: a process that forks takes none of them along. A worker whose parent is
    gone stops as if it had been told to. The announcement is printed once a signal would already end it in order.
    """
    stopping = False
    workers: set[int] = set()
    parent_lives, parent = os.pipe()

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for worker in workers:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(worker, signal.SIGTERM)

    for number in STOPPING:
        signal.signal(number, stop)
    click.echo(announcement)
    while True:
        # A signal that came between a fork and the note of it would miss the new worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        while not stopping and len(workers) < count:
            workers.add(_start(work, parent_lives, parent))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        if not workers:
            return
        ended, status = os.wait()
        workers.discard(ended)
        if not stopping:
            log.error("worker %d ended with %d and is replaced", ended, os.waitstatus_to_exitcode(status))
            time.sleep(PAUSE_SECONDS)


def _start(work: Callable[[], None], parent_lives: int, parent: int) -> int:
    worker = os.fork()
    if worker:
        return worker
    os.close(parent)
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_stop_with_parent, args=[parent_lives], daemon=True).start()
    code = 1
    try:
        work()
        code = 0
    except Refusal as refusal:
        log.critical("worker %d cannot serve: %s", os.getpid(), refusal)
    except Exception:  # noqa: BLE001 - nobody else would tell
        log.exception("worker %d failed", os.getpid())
    finally:
        sys.stdout.flush()
        os._exit(code)


def _stop_with_parent(parent_lives: int) -> None:
    os.read(parent_lives, 1)  # nothing is ever written: it ends when the parent does
    os.kill(os.getpid(), signal.SIGTERM)
