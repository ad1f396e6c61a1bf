"""What the embedded engine promises over HTTP: one writes at a time, and its log stays short."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulk import HEADER, MANY, MEGABYTE, PATIENCE_SECONDS, START, a_row, add_factory, as_csv, counted, send
from harness import START_SECONDS, Client, HeldMerge, Program, Service, a_sprocket, run_program
from keyholders import caller, make_key
from long_lists import (
    VERY_MANY,
    as_many_stopped_readers_as_allowed,
    keep_writing,
    service_with_many_records,
    upload,
    write_until_readable,
)
from sprocket_factory.database.sqlite import SQLiteDatabase
from sprocket_factory.settings import Settings

LOG_BYTES = 20 * 1024 * 1024
"""More than one upload of 200,000 records needs, with its sums: 12 MiB. Four that could not use it again need 48."""


def test_a_write_that_would_wait_too_long_for_a_merge_is_told_to_come_again(
    tmp_path: Path, held: HeldMerge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 503 with Retry-After and not done later; reads are answered; the merge does not notice."""
    monkeypatch.setattr("sprocket_factory.database.sqlite_writer.BUSY_SECONDS", 1)
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")
    with Service(settings) as running, Client(running.address) as engineer, Client(running.address) as other:
        factory_id = add_factory(engineer)
        with ThreadPoolExecutor() as callers:
            merge = callers.submit(send, other, "text/csv", as_csv([a_row(factory_id)]))
            assert held.begun.wait(PATIENCE_SECONDS)
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
    with service_with_many_records(settings, VERY_MANY) as running, Client(running.address) as operator:
        with as_many_stopped_readers_as_allowed(operator):
            keep_writing(operator, 100)
            running.let_seconds_pass(settings.stalled_seconds + 3)
            write_until_readable(operator)
        for number in range(3):
            upload(operator, VERY_MANY // 2, factory_ids=[1, 2], more=number + 1)
            keep_writing(operator, 1)
        log_bytes = (tmp_path / "factory.db-wal").stat().st_size

    assert log_bytes < LOG_BYTES


def test_fault_34_a_key_revoked_within_a_turn_of_the_event_loop_is_refused_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one request saw of the file is not taken for what another sees that came after the key was revoked."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")
    holding, held, go_on = threading.Event(), threading.Event(), threading.Event()
    look = SQLiteDatabase.stamp

    def look_and_hold(database: SQLiteDatabase) -> float:
        stamp = look(database)
        if holding.is_set():
            holding.clear()
            held.set()
            go_on.wait(START_SECONDS)
        return stamp

    monkeypatch.setattr(SQLiteDatabase, "stamp", look_and_hold)
    with Service(settings, anonymous_role="none") as running, ThreadPoolExecutor() as callers:
        key = make_key(running, "operator")
        with caller(running, key.secret) as before, caller(running, key.secret) as after:
            known = [client.get("/me").status_code for client in (before, after)]
            holding.set()
            first = callers.submit(before.get, "/me")
            assert held.wait(START_SECONDS)
            done = run_program("key", "revoke", str(key.id), "--database-url", settings.database_url, folder=tmp_path)
            second = callers.submit(after.get, "/me")
            time.sleep(0.1)  # until it is there to be read, as soon as the turn goes on
            go_on.set()
            answers = [answer.result().status_code for answer in (first, second)]

    assert 0 == done.returncode, done.stderr
    assert [200, 200] == known
    assert [200, 401] == answers
