"""GET one factory's day out of 30,000,000 records on PostgreSQL: how long it takes, and how PostgreSQL finds it.

The records lie as machines send them, minute by minute and all factories in turn, so that those of one factory's day
are spread over as many pages as may be. They are made inside PostgreSQL, without keys and indexes, which are then made
as the product's own migrations make them. Exits with 1 if the day takes too long or the primary key is not used.
"""

import asyncio
import http.client
import random
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
import msgspec
from rich.table import Table

from benchmarks.bulk import add_factory
from benchmarks.contenders import Contender, serve_product
from benchmarks.postgresql import Cluster, run_cluster
from benchmarks.records import BEGIN, PRODUCTION_PATH, TIMEOUT
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict
from benchmarks.servers import measure_cpu
from sprocket_factory.database import ServerPlace
from sprocket_factory.database.postgresql_pool import acquired, make_pool, translate
from sprocket_factory.entities.listing import Filter, Order, Query, select
from sprocket_factory.entities.production import PRODUCTION

# Seconds that nineteen requests of twenty for one factory's day may take, from sending one to its last byte.
TARGET = 0.050
KEY = "production_pkey"
FACTORIES = 100
RECORDS = 30_000_000
MINUTES_A_DAY = 24 * 60
# So that the records need no log, and nothing is written back while they are read.
SETTINGS = ("wal_level=minimal", "max_wal_senders=0", "max_wal_size=16GB", "checkpoint_timeout=1h")
MEMORY = "SET maintenance_work_mem = '1GB'"
ONE_A_MINUTE = """
INSERT INTO production
SELECT place % $3 + 1, CAST($1 AS timestamptz) + place / $3 * INTERVAL '1 minute', 29 + place / $3 % 4, 32
FROM generate_series(0, $2 - 1) AS place
"""


class Day(NamedTuple):
    """A factory and a day of its records."""

    factory_id: int
    begin: datetime


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What days took, in seconds: each by the clock, and all in processor time of each process tree."""

    clock: list[float]
    service: float
    postgresql: float


async def fill(address: str, records: int) -> None:
    """Store one record a minute of each factory, then make the keys and indexes that the table had."""
    connection = await asyncpg.connect(address)
    try:
        constraints = await connection.fetch(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = CAST('production' AS regclass) AND contype IN ('p', 'f') ORDER BY contype DESC"
        )
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'production' AND indexname <> $1", KEY
        )
        await connection.execute(MEMORY)
        async with connection.transaction():
            # What a transaction writes to a table that it has emptied needs no log.
            await connection.execute("TRUNCATE production")
            for name, _ in constraints:
                await connection.execute(f"ALTER TABLE production DROP CONSTRAINT {name}")
            for name, _ in indexes:
                await connection.execute(f"DROP INDEX {name}")
            await run(connection, "records", ONE_A_MINUTE, BEGIN, records, FACTORIES)
            for name, definition in constraints:
                await run(connection, name, f"ALTER TABLE production ADD CONSTRAINT {name} {definition}")
            for name, definition in indexes:
                await run(connection, name, definition)
        await run(connection, "statistics", "VACUUM (ANALYZE) production")
    finally:
        await connection.close()


async def run(connection: "asyncpg.Connection[asyncpg.Record]", what: str, statement: str, *values: object) -> None:
    """Run a statement that takes long, and print how long."""
    began = time.perf_counter()
    with console.status(f"making {what}"):
        await connection.execute(statement, *values)
    console.print(f"made {what} in {time.perf_counter() - began:.1f} s")


def statement_of(day: Day) -> tuple[str, list[object]]:
    """Return how the product asks for a factory's day, as it is prepared, and the values."""
    begin, end = (int(moment.timestamp()) * 1_000_000 for moment in (day.begin, day.begin + timedelta(days=1)))
    filters = (
        Filter("factory_id", "eq", (day.factory_id,)),
        Filter("time", "gte", (begin,)),
        Filter("time", "lt", (end,)),
    )
    sql, values = select(PRODUCTION, Query(filters, (Order("factory_id"), Order("time"))))
    translated, names = translate(sql)
    return translated, [values[name] for name in names]


async def explain(address: str, day: Day) -> str:
    """Return how PostgreSQL finds a day's records, as it says itself."""
    pool = await make_pool(ServerPlace(address, "", 1, through_proxy=False))
    try:
        async with acquired(pool) as connection:
            statement, values = statement_of(day)
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *values)
    finally:
        await pool.close()
    return "\n".join(row[0] for row in rows)


def choose_days(records: int, number: int) -> list[Day]:
    """Return days at random, the same in each run; each is asked for once, so that none is found in a cache of ours."""
    choice = random.Random(1)  # noqa: S311 - any will do
    days = records // FACTORIES // MINUTES_A_DAY
    return [Day(choice.randint(1, FACTORIES), BEGIN + timedelta(days=choice.randrange(days))) for _ in range(number)]


def get_days(product: Contender, cluster: Cluster, days: Sequence[Day]) -> Round:
    """Ask for one day after the other on one connection. Raises RuntimeError if one is not answered whole."""
    connection = http.client.HTTPConnection("127.0.0.1", product.server.port, timeout=TIMEOUT)
    clock = []
    before = [measure_cpu(pid) for pid in (product.server.pid, cluster.pid)]
    for day in days:
        begin, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (day.begin, day.begin + timedelta(days=1)))
        began = time.perf_counter()
        connection.request("GET", f"{PRODUCTION_PATH}/{day.factory_id}?time__gte={begin}&time__lt={end}")
        answer = connection.getresponse()
        body = answer.read()
        clock.append(time.perf_counter() - began)
        if answer.status != http.HTTPStatus.OK or len(msgspec.json.decode(body)) != MINUTES_A_DAY:
            raise RuntimeError(f"{day} was answered with {answer.status}: {body[:200]!r}")
    connection.close()
    service, postgresql = (
        (measure_cpu(pid) - taken) / len(days)
        for pid, taken in zip((product.server.pid, cluster.pid), before, strict=True)
    )
    return Round(clock=sorted(clock), service=service, postgresql=postgresql)


def print_round(one: Round) -> float:
    """Print what a day took, and return what nineteen of twenty stay within."""
    table = Table("a factory's day", "clock ms: median", "19 of 20", "slowest", "CPU ms: service", "PostgreSQL")
    within = one.clock[len(one.clock) * 19 // 20]
    milliseconds = (one.clock[len(one.clock) // 2], within, one.clock[-1], one.service, one.postgresql)
    table.add_row(f"{MINUTES_A_DAY:,} records", *(f"{seconds * 1e3:.1f}" for seconds in milliseconds))
    console.print(table)
    return within


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one factory's day out of 30,000,000 records on PostgreSQL.")
    parser.add_argument("--records", type=int, default=RECORDS, help=f"of {FACTORIES} factories in all")
    parser.add_argument("--days", type=int, default=100, help="so many of them are asked for")
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, run_cluster(folder, *SETTINGS) as cluster:
        print_heading("One factory's day out of many", folder)
        console.print(f"PostgreSQL {asyncio.run(cluster.run('CREATE DATABASE product', 'SHOW server_version'))}")
        address = cluster.address("product")
        with serve_product(folder, address) as product:
            for number in range(1, FACTORIES + 1):
                add_factory(product.server.port, number)
            asyncio.run(fill(address, options.records))
            size = asyncio.run(
                cluster.run("SELECT pg_size_pretty(pg_total_relation_size('production'))", database="product")
            )
            console.print(f"{options.records:,} records of {FACTORIES} factories, {size} with indexes")
            first, *days = choose_days(options.records, options.days + 1)
            get_days(product, cluster, [first])
            within = print_round(get_days(product, cluster, days))
            plan = asyncio.run(explain(address, first))
    console.print(plan)
    holds_time = within < TARGET
    holds_plan = re.search(f"Index Scan (using|on) {KEY}", plan) is not None
    return max(
        print_verdict(f"{within * 1e3:.1f} ms, less than {TARGET * 1e3:.0f}", holds=holds_time),
        print_verdict(f"the plan uses {KEY}", holds=holds_plan),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
