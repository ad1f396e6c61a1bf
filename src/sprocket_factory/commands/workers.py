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


def run_workers(count: int, work: Callable[[int], None], announcement: str) -> None:
    """Run `work` in so many processes until SIGINT or SIGTERM; one that ends by itself is replaced.

    It is given the worker's number, from 0 on; who replaces another takes over its number. SIGHUP is handed on.

    Must be called before there are threads: a process that forks takes none of them along. A worker whose parent is
    gone stops as if it had been told to. The announcement is printed once a signal would already end it in order.
    """
    stopping = False
    workers: dict[int, int] = {}
    parent_lives, parent = os.pipe()

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for worker in workers:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(worker, signal.SIGTERM)

    def hand_on(number: int, _frame: object) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, number)

    for number in STOPPING:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, hand_on)
    click.echo(announcement)
    while True:
        # A signal that came between a fork and the note of it would miss the new worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        while not stopping and len(workers) < count:
            free = next(number for number in range(count) if number not in workers.values())
            workers[_start(work, free, parent_lives, parent)] = free
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        if not workers:
            return
        ended, status = os.wait()
        workers.pop(ended, None)
        if not stopping:
            log.error("a worker ended and is replaced", worker=ended, exit_code=os.waitstatus_to_exitcode(status))
            time.sleep(PAUSE_SECONDS)


def _start(work: Callable[[int], None], number: int, parent_lives: int, parent: int) -> int:
    worker = os.fork()
    if worker:
        return worker
    os.close(parent)
    for signal_ in STOPPING:
        signal.signal(signal_, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can do what is asked
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_stop_with_parent, args=[parent_lives], daemon=True).start()
    code = 1
    try:
        work(number)
        code = 0
    except Refusal as refusal:
        log.critical("a worker cannot serve", worker=os.getpid(), reason=str(refusal))
    except Exception:  # noqa: BLE001 - nobody else would tell
        log.exception("a worker failed", worker=os.getpid())
    finally:
        sys.stdout.flush()
        os._exit(code)


def _stop_with_parent(parent_lives: int) -> None:
    os.read(parent_lives, 1)  # nothing is ever written: it ends when the parent does
    os.kill(os.getpid(), signal.SIGTERM)
