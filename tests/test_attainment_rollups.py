"""The stored sums equal those made anew, record by record: whatever is written, by whomever, at whatever moment."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import httpx
import pytest

from attainments import add_factory_in, attainment, compare_rollups, recounted_rollups, stored_rollups, told
from harness import Client, NewDatabase, Service, run_program, wait_for_a_lock, wait_in
from sprocket_factory.database import Transaction, open_database
from sprocket_factory.entities.attainment_rollup import Bucket, hold_bucket, outdate
from sprocket_factory.entities.production import Counts, Key, put_production

WRITES = int(os.environ.get("ROLLUP_WRITES", "600"))
"""How many random writes are tried. Ten thousand take a minute or more."""

WRITERS = 4

ZONES = ("Europe/London", "America/St_Johns", "Asia/Kathmandu")

BEGIN = datetime(2010, 11, 6, 22, 0, tzinfo=UTC)
"""Some hours before clocks go back at one minute past midnight in St. John's."""

ATTEMPTS = 20

PATIENCE_SECONDS = 20


def a_moment(random: Random) -> datetime:
    """Return one of few minutes, so that many writes meet."""
    return BEGIN + timedelta(minutes=random.randrange(900))


def a_record(random: Random, factory_id: int) -> dict[str, Any]:
    """Return a record as one sends it."""
    return {"factory_id": factory_id, "time": told(a_moment(random))} | some_counts(random)


def a_span(factory_id: int, since: datetime, until: datetime) -> dict[str, str | int]:
    """Return the parameters that name what is to be removed."""
    return {"factory_id": factory_id, "time__gte": told(since), "time__lt": told(until)}


def some_counts(random: Random) -> dict[str, int]:
    """Return small counts."""
    return {"sprocket_production_actual": random.randrange(5), "sprocket_production_goal": random.randrange(5)}


def write_once(client: Client, random: Random, factory_ids: list[int]) -> int:
    """Create, correct or delete something at random, and return how that was answered."""
    factory_id = random.choice(factory_ids)
    path = f"/production/{factory_id}/{told(a_moment(random))}"
    since = a_moment(random)
    span = a_span(factory_id, since, since + timedelta(minutes=20))
    many = [a_record(random, random.choice(factory_ids)) for _ in range(random.randrange(1, 40))]
    how = random.choice(["replace", "skip", "error"])
    ways: list[Callable[[], httpx.Response]] = [
        lambda: client.put(path, json=some_counts(random)),
        lambda: client.put(path, json=some_counts(random)),
        lambda: client.post("/production", json=a_record(random, factory_id)),
        lambda: client.patch(path, json={"sprocket_production_actual": random.randrange(5)}),
        lambda: client.delete(path),
        lambda: client.post("/production", json=many, params={"on_conflict": how}),
        lambda: client.delete("/production", params=span),
    ]
    return random.choices(ways, weights=[4, 4, 4, 3, 3, 1, 0.3])[0]().status_code


def factories(client: Client) -> list[int]:
    """Make some factories known."""
    return [add_factory_in(client, zone) for zone in ZONES]


def test_figure_7_sums_are_right_after_many_writes_at_once(
    service: Service, engineer: Client, engine: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Four writers create, correct and delete at random, one by one and many at once: none is lost or doubled."""
    factory_ids = factories(engineer)

    def write_many(seed: int) -> Counter[int]:
        random = Random(seed)  # noqa: S311 - sample data
        with Client(service.address) as client:
            return Counter(write_once(client, random, factory_ids) for _ in range(WRITES // WRITERS))

    with ThreadPoolExecutor(WRITERS) as writers:
        statuses = sum(writers.map(write_many, range(WRITERS)), Counter[int]())
    expected, stored = compare_rollups(service)
    record_testsuite_property(f"writes on {engine}", statuses.total())
    record_testsuite_property(f"of them done on {engine}", sum(statuses[status] for status in (200, 201, 204)))
    record_testsuite_property(f"sums compared on {engine}", len(stored.days) + len(stored.slots))

    assert {200, 201, 204, 404, 409} == set(statuses)
    assert expected.days
    assert expected == stored


def test_sums_are_right_while_a_time_zone_is_changed_and_changed_again(service: Service, engineer: Client) -> None:
    """Whoever writes at that moment counts into the days of the zone that holds in the end."""
    factory_ids = factories(engineer)
    done = Event()

    def write_until_done(seed: int) -> set[int]:
        random = Random(seed)  # noqa: S311 - sample data
        statuses = set()
        with Client(service.address) as client:
            while not done.is_set():
                statuses.add(write_once(client, random, factory_ids))
        return statuses

    with ThreadPoolExecutor(3) as writers:
        writing = [writers.submit(write_until_done, seed) for seed in range(3)]
        zones = [ZONES[number % 3] for number in range(1, 13)]
        changed = [
            engineer.patch(f"/factories/{factory_ids[number % 3]}", json={"time_zone": zone}).status_code
            for number, zone in enumerate(zones)
        ]
        done.set()
        statuses = set().union(*(future.result() for future in writing))
    expected, stored = compare_rollups(service)

    assert [200] * 12 == changed
    assert {200, 201, 204, 404, 409} >= statuses
    assert expected.days
    assert expected == stored


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_factory_that_moves_gets_days_of_its_new_zone(service: Service, engineer: Client, method: str) -> None:
    """All that was ever made there is summed up by the new local dates, and what comes later as well."""
    factory_id = add_factory_in(engineer, "UTC", "Moving")
    record = {"factory_id": factory_id, "sprocket_production_actual": 1, "sprocket_production_goal": 2}
    engineer.post("/production", json=record | {"time": "2021-01-21T20:00:00Z"}).raise_for_status()
    before = [(one["start"], one["records"]) for one in attainment(engineer, "day")]
    moved = {"name": "Moving", "time_zone": "Asia/Kathmandu"}
    engineer.request(method, f"/factories/{factory_id}", json=moved).raise_for_status()
    engineer.post("/production", json=record | {"time": "2021-01-22T17:00:00Z"}).raise_for_status()
    expected, stored = compare_rollups(service)

    assert [("2021-01-21T00:00:00Z", 1)] == before
    assert [("2021-01-22T00:00:00+05:45", 2)] == [(one["start"], one["records"]) for one in attainment(engineer, "day")]
    assert expected == stored


def test_a_factory_whose_production_was_removed_can_be_forgotten(service: Service, engineer: Client) -> None:
    """Sums of nothing do not keep it, and are gone with it."""
    factory_id = add_factory_in(engineer, "UTC")
    path = f"/production/{factory_id}/2021-01-21T20:00:00Z"
    engineer.put(path, json={"sprocket_production_actual": 1, "sprocket_production_goal": 2}).raise_for_status()
    kept = engineer.delete(f"/factories/{factory_id}").status_code
    engineer.delete(path).raise_for_status()
    gone = engineer.delete(f"/factories/{factory_id}").status_code
    rows = service.run(
        service.database.all, "SELECT 1 FROM production_quarters UNION ALL SELECT 1 FROM production_days"
    )

    assert [409, 204] == [kept, gone]
    assert [] == list(rows)


def test_a_dry_run_leaves_the_sums_alone(service: Service, engineer: Client) -> None:
    """What is only tried out is not counted, neither many records nor their removal."""
    factory_id = add_factory_in(engineer, "UTC")
    rows = [a_record(Random(1), factory_id)]  # noqa: S311 - sample data
    engineer.post("/production", json=rows).raise_for_status()
    before = attainment(engineer, "total")
    rows[0]["time"] = told(BEGIN - timedelta(days=1))
    engineer.post("/production", params={"dry_run": "true"}, json=rows).raise_for_status()
    span = a_span(factory_id, BEGIN - timedelta(days=9), BEGIN + timedelta(days=9))
    engineer.delete("/production", params=span | {"dry_run": "true"}).raise_for_status()
    expected, stored = compare_rollups(service)

    assert before == attainment(engineer, "total")
    assert expected == stored


def test_two_who_write_into_one_slot_at_once_are_both_counted(service: Service, engineer: Client) -> None:
    """The second one waits for the first, and counts its record as well, whoever was there before."""
    factory_id = add_factory_in(engineer, "UTC")
    begun, go_on = Event(), Event()

    async def write_and_wait(tx: Transaction) -> None:
        await put_production(tx, key_of(factory_id, BEGIN), ONE)
        begun.set()
        await wait_in(tx, go_on)

    with ThreadPoolExecutor() as writers:
        first = writers.submit(service.run, service.database.write, write_and_wait, by="test")
        assert begun.wait(PATIENCE_SECONDS)
        other = f"/production/{factory_id}/{told(BEGIN + timedelta(minutes=1))}"
        second = writers.submit(engineer.put, other, json=COUNTS_SENT)
        wait_for_a_lock(service)
        go_on.set()
        first.result()
        assert 201 == second.result().status_code
    expected, stored = compare_rollups(service)

    assert [2] == [one["records"] for one in attainment(engineer, "hour")]
    assert expected == stored


def test_many_records_do_not_lose_one_that_is_written_meanwhile(service: Service, engineer: Client) -> None:
    """A body of many waits for a write into its first slot, others wait for the body, and all are counted."""
    factory_id = add_factory_in(engineer, "UTC")
    begun, go_on = Event(), Event()
    rows = [
        {"factory_id": factory_id, "time": told(BEGIN + timedelta(minutes=minute)), **COUNTS_SENT}
        for minute in range(0, 3000, 2)
    ]

    async def write_and_wait(tx: Transaction) -> None:
        await put_production(tx, key_of(factory_id, BEGIN + timedelta(minutes=1)), ONE)
        begun.set()
        await wait_in(tx, go_on)

    with Client(service.address) as other, ThreadPoolExecutor() as writers:
        first = writers.submit(service.run, service.database.write, write_and_wait, by="test")
        assert begun.wait(PATIENCE_SECONDS)
        many = writers.submit(other.post, "/production", json=rows)
        wait_for_a_lock(service)
        singles = [
            writers.submit(
                engineer.put, f"/production/{factory_id}/{told(BEGIN + timedelta(minutes=minute))}", json=COUNTS_SENT
            )
            for minute in (3, 301, 2999)
        ]
        go_on.set()
        first.result()
        assert [200, 201, 201, 201] == [many.result().status_code, *(single.result().status_code for single in singles)]
    expected, stored = compare_rollups(service)

    assert [1500 + 4] == [one["records"] for one in attainment(engineer, "total")]
    assert expected == stored


def test_what_is_stored_into_a_span_while_it_is_removed_is_counted(service: Service, engineer: Client) -> None:
    """Whether it is removed as well or stays, the sums say so: in a slot that had records and in one that had none."""
    factory_id = add_factory_in(engineer, "UTC")
    random = Random(3)  # noqa: S311 - sample data
    span = a_span(factory_id, BEGIN, BEGIN + timedelta(days=2))
    with Client(service.address) as other, ThreadPoolExecutor() as writers:
        for _ in range(ATTEMPTS):
            rows = [a_record(random, factory_id) for _ in range(30)]
            other.post("/production", json=rows, params={"on_conflict": "replace"}).raise_for_status()
            removing = writers.submit(other.delete, "/production", params=span)
            for _ in range(5):
                path = f"/production/{factory_id}/{told(a_moment(random))}"
                engineer.put(path, json=COUNTS_SENT).raise_for_status()
            removing.result().raise_for_status()
            expected, stored = compare_rollups(service)

            assert expected == stored


def test_a_zone_is_not_changed_under_a_write(
    service: Service, engineer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has begun to count by one zone ends before the factory goes by another."""
    factory_id = add_factory_in(engineer, "UTC", "Moving")
    begun, go_on = Event(), Event()

    async def wait_and_hold(tx: Transaction, *args: Any) -> Bucket:
        begun.set()
        await wait_in(tx, go_on)
        return await hold_bucket(tx, *args)

    monkeypatch.setattr("sprocket_factory.entities.production.hold_bucket", wait_and_hold)
    with Client(service.address) as other, ThreadPoolExecutor() as writers:
        writing = writers.submit(engineer.put, f"/production/{factory_id}/{told(BEGIN)}", json=COUNTS_SENT)
        assert begun.wait(PATIENCE_SECONDS)
        moving = writers.submit(other.patch, f"/factories/{factory_id}", json={"time_zone": "Pacific/Apia"})
        wait_for_a_lock(service)
        go_on.set()
        assert [201, 200] == [writing.result().status_code, moving.result().status_code]
    expected, stored = compare_rollups(service)

    assert ["2010-11-06T00:00:00-10:00"] == [one["start"] for one in attainment(engineer, "day")]
    assert expected == stored


async def test_sums_of_other_time_zones_are_made_anew_at_the_next_start(database_url: str, tmp_path: Path) -> None:
    """A database that has none yet, or those of another tzdata, is summed up before anybody reads, and only then."""
    database = await open_database(database_url)
    factory = "INSERT INTO factories (id, name, name_folded, time_zone) VALUES (:id, 'A', 'a', 'Asia/Kathmandu')"
    record = "INSERT INTO production VALUES (1, :time, 3, 4)"
    await database.write(run_all, [(factory, {"id": 1}), (record, {"time": 1_300_000_000_000_000})], by="test")
    before = await stored_rollups(database)
    done = run_program("export", "sprockets", "--database-url", database_url, folder=tmp_path)
    made = await stored_rollups(database), await recounted_rollups(database)
    await database.write(run_all, [("UPDATE production_days SET actual = :actual", {"actual": 9})], by="test")
    run_program("export", "sprockets", "--database-url", database_url, folder=tmp_path)
    left = await stored_rollups(database)
    await database.write(outdate, by="test")
    run_program("export", "sprockets", "--database-url", database_url, folder=tmp_path)
    again = await stored_rollups(database)
    await database.close()

    assert 0 == done.returncode, done.stderr
    assert ({}, {}) == before
    assert made[1] == made[0]
    assert [9] == [sums[0] for sums in left.days.values()]
    assert made[1] == again


async def test_a_copy_has_the_sums_of_its_records(
    service: Service, engineer: Client, new_database: NewDatabase, tmp_path: Path
) -> None:
    """They are made anew in the copy, from what arrived there."""
    random = Random(5)  # noqa: S311 - sample data
    rows = [a_record(random, factory_id) for factory_id in factories(engineer) for _ in range(50)]
    engineer.post("/production", json=rows, params={"on_conflict": "replace"}).raise_for_status()
    target = new_database()
    done = run_program("copy", "--from", service.settings.database_url, "--to", target, folder=tmp_path)
    database = await open_database(target)
    copied = await stored_rollups(database)
    await database.close()
    expected, _ = compare_rollups(service)

    assert 0 == done.returncode, done.stderr
    assert expected == copied


COUNTS_SENT = {"sprocket_production_actual": 1, "sprocket_production_goal": 1}
ONE = Counts(sprocket_production_actual=1, sprocket_production_goal=1)


def key_of(factory_id: int, moment: datetime) -> Key:
    """Return what a record is told by."""
    return Key(factory_id, round(moment.timestamp()) * 1_000_000)


async def run_all(tx: Transaction, statements: list[tuple[str, dict[str, Any]]]) -> None:
    """Write past the program."""
    for sql, values in statements:
        await tx.run(sql, **values)
