"""Several processes that serve on one listening socket, and the parent that looks after them."""

import os
import signal
import sys
import time
from collections.abc import Callable

from sprocket_factory.errors import Refusal
from sprocket_factory.observe import log

PAUSE_SECONDS = 1.0
"""A worker that ends at once is not started again without a pause."""


def run_workers(count: int, work: Callable[[], None]) -> None:
    """Run `work` in so many processes until SIGINT or SIGTERM; one that ends by itself is replaced.

    Must be called before there are threads: a process that forks takes none of them along.
    """
    stopping = False
    workers: set[int] = set()

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for worker in workers:
            os.kill(worker, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while True:
        while not stopping and len(workers) < count:
            workers.add(_start(work))
        if not workers:
            return
        ended, status = os.wait()
        workers.discard(ended)
        if not stopping:
            log.error("worker %d ended with %d and is replaced", ended, os.waitstatus_to_exitcode(status))
            time.sleep(PAUSE_SECONDS)


def _start(work: Callable[[], None]) -> int:
    worker = os.fork()
    if worker:
        return worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
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
