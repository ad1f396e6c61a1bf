"""What the embedded engine promises over HTTP: one writes at a time, and its log stays short."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulk import HEADER, MANY, MEGABYTE, PATIENCE_SECONDS, START, a_row, add_factory, as_csv, counted, send
from harness import Client, HeldMerge, Program, Service, a_sprocket
from long_lists import MANY as RECORDS
from long_lists import (
    as_many_stopped_readers_as_allowed,
    keep_writing,
    service_with_many_records,
    upload,
    write_until_readable,
)
from sprocket_factory.settings import Settings

LOG_BYTES = 20 * 1024 * 1024
"""More than one upload of 200,000 records needs, with its sums: 12 MiB. Four that could not use it again need 48."""


def test_a_write_that_would_wait_too_long_for_a_merge_is_told_to_come_again(
    tmp_path: Path, held: HeldMerge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 503 with Retry-After and not done later; reads are answered; the merge does not notice."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")
    with Service(settings) as running, Client(running.address) as engineer, Client(running.address) as other:
        factory_id = add_factory(engineer)
        with ThreadPoolExecutor() as callers:
            merge = callers.submit(send, other, "text/csv", as_csv([a_row(factory_id)]))
            assert held.begun.wait(PATIENCE_SECONDS)
            monkeypatch.setattr("sprocket_factory.database.sqlite_writer.BUSY_SECONDS", 0.2)
            refused = engineer.post("/sprockets", json=a_sprocket())
            read = [
                engineer.get(path) for path in ("/sprockets", f"/production/{factory_id}", f"/factories/{factory_id}")
            ]
            held.go_on.set()
        sprockets = engineer.get("/sprockets").json()

    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert int(refused.headers["Retry-After"]) > 0
    assert [200, 200, 200] == [answer.status_code for answer in read]
    assert [] == read[1].json()
    assert (200, 1) == (merge.result().status_code, merge.result().json()["created"])
    assert [] == sprockets


@pytest.mark.parametrize("written", [1 * MEGABYTE, 3 * MEGABYTE])
def test_fault_01_a_bulk_merge_that_is_killed_is_whole_or_absent(
    start: Callable[..., Program], tmp_path: Path, written: int
) -> None:
    """After kill -9 at any moment of a merge all of its records are there or none, and sending it again is right."""
    log = tmp_path / "sprocket-factory.db-wal"
    program = start("serve", "--port", "0")
    with Client(program.wait_for_address()) as engineer, ThreadPoolExecutor() as callers:
        factory_id = add_factory(engineer)
        body = b"".join([HEADER, *(b"%d,%d,1,2\n" % (factory_id, START + second) for second in range(MANY))])
        merge = callers.submit(send, engineer, "text/csv", body)
        while log.stat().st_size < written and not merge.done():
            time.sleep(0.001)
        program.kill()
        error = merge.exception()
    restarted = start("serve", "--port", "0")
    with Client(restarted.wait_for_address()) as engineer:
        left = int(engineer.get("/production?limit=1&count=true").headers["X-Total-Count"])
        again = send(engineer, "text/csv", body).json()
        total = int(engineer.get("/production?limit=1&count=true").headers["X-Total-Count"])

    assert left in {0, MANY} if error else {MANY}
    assert counted(MANY, created=MANY - left, unchanged=left) == again
    assert total == MANY


def test_fault_39_the_log_is_used_again_once_stopped_readers_are_cut_off(tmp_path: Path) -> None:
    """A snapshot holds the log back, so none is held for a reader who takes nothing: writes do not let it grow."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}", max_lists=1)
    with service_with_many_records(settings) as running, Client(running.address) as operator:
        with as_many_stopped_readers_as_allowed(operator):
            keep_writing(operator, 100)
            running.let_seconds_pass(settings.stalled_seconds + 3)
            write_until_readable(operator)
        for number in range(3):
            upload(operator, RECORDS // 2, factory_ids=[1, 2], more=number + 1)
            keep_writing(operator, 1)
        log_bytes = (tmp_path / "factory.db-wal").stat().st_size

    assert log_bytes < LOG_BYTES
