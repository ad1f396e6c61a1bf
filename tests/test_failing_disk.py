"""The n-th write, sync or COMMIT fails: nobody is told that something is stored which is not, and it goes on.

How far n goes FAILURES in the environment says.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import apsw
import httpx
import pytest

from attainments import add_factory_in, compare_rollups
from harness import Client, Service, a_sprocket
from simulated_disk import Kind, SimulatedDisk, simulated_disk
from sprocket_factory.database.checking import look_into_sqlite
from sprocket_factory.settings import Settings

FAILURES = int(os.environ.get("FAILURES", "20"))

SEED = 20_210_121

CODES = (apsw.SQLITE_IOERR, apsw.SQLITE_FULL)

TIMES = (1, 6)
"""Once, so that the service finds a way; or so often that those whose writes are tried again alone are refused."""

CALLERS = 3
"""Several, so that a COMMIT that fails is that of a group."""

REFUSALS = {503, 507}

ROWS = 20

LOOK_EACH = 10
"""After each tenth failure it is looked what a power cut would leave."""

ENDS = 5
"""So many of those that it may have."""

Json = dict[str, Any]


class Stored(NamedTuple):
    """What is stored of one caller's: the counts of his records by time, and how many sprockets have his number."""

    records: dict[str, int]
    sprockets: int


class Caller:
    """Somebody who writes, alone in his factory, and knows what he was told."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number
        self._factory_id = add_factory_in(client, "UTC", f"Factory {number}")
        self._steps = cycle([self._put, self._add, self._import, self._remove])
        self._last = 0
        self.promised = Stored({}, 0)
        self.statuses: set[int] = set()

    def write(self) -> None:
        """Write the next thing, and believe what is answered."""
        self._last += 1
        answer, then = next(self._steps)()
        self.statuses.add(answer.status_code)
        if answer.is_success:
            self.promised = then

    def look(self, client: Client) -> Stored:
        """Return what is stored."""
        records = client.get(f"/production/{self._factory_id}").raise_for_status().json()
        sprockets = client.get("/sprockets", params={"teeth": self._teeth}).raise_for_status().json()
        return Stored({record["time"]: record["sprocket_production_actual"] for record in records}, len(sprockets))

    def look_into(self, database: apsw.Connection) -> Stored:
        """Return what is stored in a file that no service has opened."""
        records = database.execute(
            "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', time / 1000000, 'unixepoch'), sprocket_production_actual"
            " FROM production WHERE factory_id = ?",
            (self._factory_id,),
        )
        sprockets = database.execute("SELECT count(*) FROM sprockets WHERE teeth = ?", (self._teeth,))
        return Stored(dict(records), next(sprockets)[0])

    @property
    def _teeth(self) -> int:
        return 20 + self._number

    def _put(self) -> tuple[httpx.Response, Stored]:
        time = minute(self._last % 7)
        answer = self._client.put(f"/production/{self._factory_id}/{time}", json=counts(self._last))
        return answer, self.promised._replace(records=self.promised.records | {time: self._last})

    def _add(self) -> tuple[httpx.Response, Stored]:
        answer = self._client.post("/sprockets", json=a_sprocket(teeth=self._teeth))
        return answer, self.promised._replace(sprockets=self.promised.sprockets + 1)

    def _import(self) -> tuple[httpx.Response, Stored]:
        times = [minute(row) for row in range(5, 5 + ROWS)]
        rows = [{"factory_id": self._factory_id, "time": time, **counts(self._last)} for time in times]
        answer = self._client.post("/production", params={"on_conflict": "replace"}, json=rows)
        return answer, self.promised._replace(records=self.promised.records | dict.fromkeys(times, self._last))

    def _remove(self) -> tuple[httpx.Response, Stored]:
        span: dict[str, str | int] = {"factory_id": self._factory_id, "time__gte": minute(0), "time__lt": minute(8)}
        answer = self._client.delete("/production", params=span)
        left = {time: count for time, count in self.promised.records.items() if time >= minute(8)}
        return answer, self.promised._replace(records=left)


def minute(number: int) -> str:
    """Return a time."""
    return f"2021-01-21T02:{number:02}:00Z"


def counts(value: int) -> Json:
    """Return equal counts."""
    return {"sprocket_production_actual": value, "sprocket_production_goal": value}


def look_for_faults(database: Path, client: Client, callers: list[Caller]) -> list[str]:
    """Return what is not whole, or not as somebody was told."""
    stored = [caller.look(client) for caller in callers]
    return [*look_into_sqlite(database).faults, *compare(callers, stored)]


def look_for_losses(disk: SimulatedDisk, folder: Path, callers: list[Caller]) -> Iterator[str]:
    """Give what would not be whole, or not as somebody was told, if the power were cut now."""
    for number in range(ENDS):
        disk.save_survivors(folder / str(number), Random(number))  # noqa: S311 - the same ends each time
        with closing(apsw.Connection(str(folder / str(number) / "factory.db"), vfs="unix")) as survivor:
            found = [faults for (faults,) in survivor.execute("PRAGMA integrity_check")]
            stored = [caller.look_into(survivor) for caller in callers]
        yield from found if found != ["ok"] else compare(callers, stored)


def compare(callers: list[Caller], stored: list[Stored]) -> list[str]:
    """Return where something else is stored than was promised."""
    return [
        f"{caller.promised} was promised, {found} is stored"
        for caller, found in zip(callers, stored, strict=True)
        if caller.promised != found
    ]


@pytest.mark.parametrize("kind", ["write", "sync", "commit"])
def test_fault_03_what_a_failing_disk_did_not_take_is_never_said_to_be_stored(
    kind: Kind, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Who got a 2xx finds what he sent, who got 503 or 507 what was there before; and the service goes on.

    The power is cut at the end, for what a sync could not write is not on the disk even if the next one succeeds. What
    would be left if it were cut before is looked at now and then: a checkpoint would bring back what was lost.
    """
    wrong: list[str] = []
    before, after = tmp_path / "before" / "factory.db", tmp_path / "after" / "factory.db"
    with simulated_disk(SEED) as disk:
        disk.restart(before.parent)
        with ExitStack() as until_then:
            service = until_then.enter_context(Service(Settings(database_url=f"sqlite:///{before}")))
            together = until_then.enter_context(ThreadPoolExecutor(CALLERS))
            clients = [until_then.enter_context(Client(service.address)) for _ in range(CALLERS)]
            callers = [Caller(client, number) for number, client in enumerate(clients)]
            for number in range(1, FAILURES + 1):
                disk.fail(kind, number, TIMES[number // 2 % 2], CODES[number % 2])
                while not disk.has_failed:
                    list(together.map(Caller.write, callers))
                list(together.map(Caller.write, callers))
                # Not before: until something else is in its place, what was refused may survive a power cut, whole.
                if number % LOOK_EACH == 0:
                    losses = look_for_losses(disk, tmp_path / str(number), callers)
                    wrong += [f"{kind} {number}, if the power were cut: {loss}" for loss in losses]
                wrong += [f"{kind} {number}: {fault}" for fault in look_for_faults(before, clients[0], callers)]
            expected_sums, stored_sums = compare_rollups(service)
            disk.abandon()
        disk.restart(after.parent)
        with Service(Settings(database_url=f"sqlite:///{after}")) as again, Client(again.address) as viewer:
            wrong += [f"after a power cut: {fault}" for fault in look_for_faults(after, viewer, callers)]
    record_testsuite_property(f"failed {kind} calls", FAILURES)

    assert [] == wrong
    assert REFUSALS == {status for caller in callers for status in caller.statuses if status >= 400}
    assert expected_sums == stored_sums
