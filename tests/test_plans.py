"""How records are found: along a key, however many others there are."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from harness import Client, NewDatabase, Service
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import NO_VALUES, Row, Transaction, Value
from sprocket_factory.settings import Settings

FACTORIES = 3
MINUTES = 2000
"""More than one chunk of a list, and so many of all records that reading the table may seem the shorter way."""

MINUTE = 60_000_000
BEGIN = 1_611_187_200_000_000

DAY = "time__gte=2021-01-21T00:00:00Z&time__lt=2021-01-22T00:00:00Z"

Read = tuple[str, Mapping[str, Value]]
"""A statement and its values."""

ALONG_THE_KEY = {
    "sqlite": "SEARCH production USING PRIMARY KEY (factory_id=? AND time>? AND time<?)",
    "postgresql": "production_pkey",
}


async def fill(tx: Transaction) -> None:
    """Store records as they come in: minute by minute, all factories in turn."""
    factories = range(1, FACTORIES + 1)
    await tx.fill(
        "factories",
        ("id", "name", "name_folded", "time_zone"),
        [(number, str(number), str(number), "UTC") for number in factories],
    )
    await tx.fill(
        "production",
        ("time", "factory_id", "sprocket_production_actual", "sprocket_production_goal"),
        [(BEGIN + minute * MINUTE, number, 1, 2) for minute in range(MINUTES) for number in factories],
    )


async def analyse(tx: Transaction) -> None:
    """Let the database know what it holds."""
    await tx.all("ANALYZE")


@contextmanager
def serving(url: str) -> Iterator[Service]:
    """Run a service on such records."""
    with Service(Settings(database_url=url)) as service:
        service.run(service.database.write, fill, by="test")
        service.run(service.database.write, analyse, by="test", alone=True)
        yield service


@pytest.fixture(scope="module")
def filled(new_database: NewDatabase) -> Iterator[Service]:
    """Run a service on such records, which the tests only read."""
    with serving(new_database()) as service:
        yield service


@pytest.fixture
def reads(filled: Service, monkeypatch: pytest.MonkeyPatch) -> list[Read]:
    """Take note of each statement by which a list is read."""
    noted: list[Read] = []
    stream: Callable[..., AsyncGenerator[list[Any]]] = filled.database.stream

    def note(make: Any, sql: str, values: Mapping[str, Value] = NO_VALUES, *, scans: bool = False) -> Any:
        noted.append((sql, values))
        return stream(make, sql, values, scans=scans)

    monkeypatch.setattr(filled.database, "stream", note)
    return noted


def plan_of(service: Service, engine: str, read: Read) -> str:
    """Return how the database finds what a statement asks for."""
    explain = "EXPLAIN QUERY PLAN" if engine == "sqlite" else "EXPLAIN"
    sql, values = read
    rows: list[Row] = service.run(service.database.all, f"{explain} {sql}", **values)
    return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize("path", ["/production/2?", "/production?factory_id=2&"])
def test_one_factorys_day_is_found_by_the_primary_key(
    filled: Service, engine: str, reads: list[Read], path: str
) -> None:
    """Nothing but that day's records is looked at."""
    with Client(filled.address) as viewer:
        day = viewer.get(path + DAY).json()
    plan = plan_of(filled, engine, reads[0])

    assert 24 * 60 == len(day)
    assert ALONG_THE_KEY[engine] in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("path", ["/production", "/production/2", "/production?sort=time"])
def test_no_long_list_reads_the_table_from_end_to_end_on_postgresql(postgresql: PostgreSQLServer, path: str) -> None:
    """An index has its rows in order, so it begins at once, and looks at no record that it does not give."""
    url = postgresql.new_database()
    counters = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'production'"
    with serving(url):
        pass
    before = postgresql.ask(counters, url).split("|")
    with Service(Settings(database_url=url)) as service, Client(service.address) as viewer:
        count = len(viewer.get(path).json())
    while (after := postgresql.ask(counters, url).split("|"))[1] == before[1]:
        pass  # a connection that has ended tells of what it did a moment later

    assert (FACTORIES * MINUTES if path != "/production/2" else MINUTES) == count
    assert before[0] == after[0]
