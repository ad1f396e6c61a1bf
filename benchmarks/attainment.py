"""GET attainment of 100 factories over a year of minutes, 52.6 million records, on SQLite and on PostgreSQL.

Factories and records are put into the tables by SQL, as no client could in that time, and the product's next start sums
them up. Then it is asked over HTTP. With fewer --records the minutes lie further apart, and the buckets stay as many:
the figures that have a target should hardly change, for they are to cost by the bucket. Exits with 1 if one is missed.
"""

import asyncio
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.table import Table

from benchmarks.contenders import build_environment, migrate_product, serve_product
from benchmarks.filling import Factory, Stock, fill_postgresql, fill_sqlite
from benchmarks.postgresql import run_cluster
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict

FACTORIES = 100
MINUTES = 365 * 24 * 60
# None is at UTC, so that the year of each lies in 366 local dates.
ZONES = ("America/Chicago", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns")
BUCKETS = FACTORIES * 366

BASE = "/sprocketFactory/v1"
# What is asked for, how many buckets that are, and within how many seconds.
QUESTIONS: Sequence[tuple[str, str, int | None, float | None]] = (
    ("all factories by day", "by=day", BUCKETS, 0.150),
    ("one factory by day", "by=day&factory_id=50", 366, 0.015),
    (
        "one factory by day, cut at both ends",
        "by=day&factory_id=50&time__gte=1612345678&time__lt=1634567890",
        258,
        0.015,
    ),
    ("all factories by month", "by=month", FACTORIES * 13, None),
    ("all factories, a week cut at both ends", "by=day&time__gte=1612345678&time__lt=1612950478", FACTORIES * 8, None),
    ("one factory by hour", "by=hour&factory_id=50", None, None),
    ("one factory in all", "by=total&factory_id=50", 1, None),
)


class Answer(msgspec.Struct, frozen=True):
    """What one question is answered, and how long that takes in seconds."""

    buckets: int
    records: int
    seconds: float
    size: int


class Bucket(msgspec.Struct):
    """The part of a bucket that is looked at."""

    records: int


def make_stock(count: int) -> Stock:
    """Return the factories with so many records each, spread over the year."""
    step = MINUTES * 60 // count
    return Stock([Factory(number, count, ZONES[number % len(ZONES)], step) for number in range(1, FACTORIES + 1)])


def sum_up(folder: Path, address: str) -> float:
    """Let the product open its database, which brings that up to date, and return the seconds that it took."""
    argv = [sys.executable, "-m", "sprocket_factory", "export", "sprockets", "--database-url", address]
    started_at = time.perf_counter()
    subprocess.run(argv, check=True, env=build_environment(), cwd=folder, capture_output=True)
    return time.perf_counter() - started_at


def ask(port: int, query: str, rounds: int) -> Answer:
    """Ask a question again and again on one connection, and return the median."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    taken = []
    for _ in range(rounds + 1):
        started_at = time.perf_counter()
        connection.request("GET", f"{BASE}/attainment?{query}")
        answer = connection.getresponse()
        body = answer.read()
        taken.append(time.perf_counter() - started_at)
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{query} is answered with {answer.status}: {body[:1000]!r}")
    connection.close()
    buckets = msgspec.json.decode(body, type=list[Bucket])
    return Answer(len(buckets), sum(one.records for one in buckets), statistics.median(taken[1:]), len(body))


def measure(folder: Path, address: str, fill: Callable[[], None], rounds: int) -> tuple[float, dict[str, Answer]]:
    """Fill a database, and return the seconds that it took to sum it up, and what each question is answered."""
    migrate_product(folder, address)
    fill()
    summed_up = sum_up(folder, address)
    is_postgresql = address.startswith("postgresql:")
    with serve_product(folder, address if is_postgresql else "") as product:
        return summed_up, {name: ask(product.server.port, query, rounds) for name, query, *_ in QUESTIONS}


def print_answers(engine: str, summed_up: float, answers: dict[str, Answer], records: int) -> int:
    """Print what was measured on one engine, and return the exit code. Raises RuntimeError if anything is missing."""
    table = Table(engine, "buckets", "records in them", "ms", "kB")
    code = 0
    for name, _, buckets, target in QUESTIONS:
        one = answers[name]
        table.add_row(
            name, f"{one.buckets:,}", f"{one.records:,}", f"{one.seconds * 1e3:.1f}", f"{one.size / 1e3:,.0f}"
        )
        if buckets is not None and one.buckets != buckets:
            raise RuntimeError(f"{name} gives {one.buckets:,} buckets, not {buckets:,}.")
        if target is not None:
            verdict = f"{engine}: {name} in {one.seconds * 1e3:.1f} ms, at most {target * 1e3:.0f}"
            code = max(code, print_verdict(verdict, holds=one.seconds <= target))
    console.print(table)
    console.print(f"{engine}: {records:,} records were summed up at the start in {summed_up:.1f} s")
    if answers["all factories by day"].records != records:
        raise RuntimeError("Not every record is in a day.")
    return code


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET attainment of 100 factories over a year of minutes.")
    parser.add_argument("--records", type=int, default=FACTORIES * MINUTES, help="in all (default: %(default)s)")
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], help="on this one alone (default: both)")
    parser.add_argument("--rounds", type=int, default=15, help="questions of a kind")
    options = parser.parse_args(argv)
    count = options.records // FACTORIES
    code = 0
    with make_folder(options.folder) as folder:
        print_heading(f"GET attainment of {count * FACTORIES:,} records", folder)
        if options.engine != "postgresql":
            file = folder / "product.db"
            found = measure(folder, f"sqlite:///{file}", partial(fill_sqlite, file, make_stock(count)), options.rounds)
            code = max(code, print_answers("SQLite", *found, count * FACTORIES))
            file.unlink()
        if options.engine != "sqlite":
            with run_cluster(folder) as cluster:
                asyncio.run(cluster.run("CREATE DATABASE product", "SELECT 1"))
                address = cluster.address("product")
                found = measure(folder, address, partial(fill_postgresql, address, make_stock(count)), options.rounds)
                code = max(code, print_answers("PostgreSQL", *found, count * FACTORIES))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
