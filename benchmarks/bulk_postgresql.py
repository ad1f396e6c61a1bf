"""POST 1,000,000 production records as CSV to the product on PostgreSQL, twice, beside a plain COPY of the same rows.

COPY is the fastest way in that PostgreSQL has, and checks nothing of what the product promises; into a copy of the
table with its keys it is what the target is a share of. All take their turn in every round, each into an empty table
after a checkpoint, so that none pays for what the one before it has yet to write. At the end one more import shows how
long those who read beside it wait. Exits with 1 if a target is missed.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import asyncpg
import msgspec
from rich.table import Table

from benchmarks.bulk import TARGET_GROWTH, Merged, add_factory, calling, upload
from benchmarks.contenders import Contender, get_sprockets, list_sprocket_paths, post_sprockets, serve_product
from benchmarks.load import Load, finish_load
from benchmarks.postgresql import Cluster, run_cluster
from benchmarks.records import COLUMNS, FACTORIES, IDLE, OTHERS, WARM_UP, print_others, write_records
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu

# As many records a second, for each that COPY stores, as 80,000 are for 300,000.
TARGET_SHARE = 80_000 / 300_000
PLAIN, KEYED, FIRST, AGAIN = "COPY, no keys", "COPY", "POST", "POST again"
TABLES = (
    "CREATE TABLE copied_plain (LIKE production INCLUDING CONSTRAINTS)",
    "CREATE TABLE copied_keyed (LIKE production INCLUDING ALL)",
    "ALTER TABLE copied_keyed ADD FOREIGN KEY (factory_id) REFERENCES factories (id)",
)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. Seconds by the clock, of processor time in each process tree, and bytes of the service's memory."""

    seconds: float
    service: float
    postgresql: float
    growth: int = 0


async def copy(address: str, file: Path, table: str) -> None:
    """Copy the file into a table through the protocol, as any client does."""
    connection = await asyncpg.connect(address)
    try:
        await connection.copy_to_table(table, source=file, columns=COLUMNS, format="csv", header=True)
    finally:
        await connection.close()


async def measure(cluster: Cluster, product: Contender, act: Callable[[], Awaitable[int]]) -> Round:
    """Act, and return what it took. It returns by how many bytes the service's memory grew."""
    await cluster.run("CHECKPOINT", "SELECT 1")
    before = [measure_cpu(pid) for pid in (product.server.pid, cluster.pid)]
    started_at = time.perf_counter()
    growth = await act()
    seconds = time.perf_counter() - started_at
    service, postgresql = (
        measure_cpu(pid) - taken for pid, taken in zip((product.server.pid, cluster.pid), before, strict=True)
    )
    return Round(seconds=seconds, service=service, postgresql=postgresql, growth=growth)


async def measure_round(cluster: Cluster, product: Contender, file: Path, records: int) -> dict[str, Round]:
    """Let all take their turn. Raises RuntimeError if any does not store every row, or the second POST changes one."""
    address = str(product.database)

    async def copy_into(table: str) -> int:
        await copy(address, file, table)
        return 0

    async def post(*, is_again: bool) -> int:
        one = await asyncio.to_thread(upload, product, file, chunked=False)
        nothing = Merged(records=records, created=0, replaced=0, unchanged=0, skipped=0)
        expected = msgspec.structs.replace(nothing, **{"unchanged" if is_again else "created": records})
        if one.answer != expected:
            raise RuntimeError(f"The product answered {one.answer}.")
        return one.memory.peak - one.memory.before

    turns: dict[str, Callable[[], Awaitable[int]]] = {
        PLAIN: partial(copy_into, "copied_plain"),
        KEYED: partial(copy_into, "copied_keyed"),
        FIRST: partial(post, is_again=False),
        AGAIN: partial(post, is_again=True),
    }
    await cluster.run("TRUNCATE production, copied_plain, copied_keyed", "SELECT 1", database="product")
    measured = {name: await measure(cluster, product, act) for name, act in turns.items()}
    for table in ("production", "copied_plain", "copied_keyed"):
        stored = await cluster.run(f"SELECT count(*) FROM {table}", database="product")
        if stored != records:
            raise RuntimeError(f"{table} holds {stored:,} rows.")
    return measured


def upload_beside_readers(cluster: Cluster, product: Contender, file: Path) -> dict[str, Load]:
    """Import once more, into an empty table, while others read; return how those fared alone and beside it."""
    asyncio.run(cluster.run("TRUNCATE production", "CHECKPOINT", "SELECT 1", database="product"))
    post_sprockets(product, 1, requests=OTHERS)
    paths = list_sprocket_paths(product)
    get_sprockets(product, paths, OTHERS, WARM_UP)
    alone = get_sprockets(product, paths, OTHERS, IDLE)
    with calling(product, paths, "--connections", str(OTHERS)) as others:
        upload(product, file, chunked=False)
    return {"alone": alone, "beside the import": finish_load(others)}


def choose_best(rounds: Sequence[dict[str, Round]]) -> dict[str, Round]:
    """Return the fastest turn of each."""
    return {name: min((one[name] for one in rounds), key=lambda turn: turn.seconds) for name in rounds[0]}


def print_rounds(rounds: Sequence[dict[str, Round]], records: int) -> None:
    """Print the fastest turn of each."""
    table = Table("", "records/s", "seconds", "of each round", "CPU s service", "PostgreSQL", "RSS growth")
    for name, one in choose_best(rounds).items():
        table.add_row(
            name,
            f"{records / one.seconds:,.0f}",
            f"{one.seconds:.2f}",
            " ".join(f"{each[name].seconds:.2f}" for each in rounds),
            f"{one.service:.2f}",
            f"{one.postgresql:.2f}",
            f"{max(each[name].growth for each in rounds) / 2**20:.1f} MiB" if one.growth else "",
        )
    console.print(table)


def print_verdicts(rounds: Sequence[dict[str, Round]], records: int) -> int:
    """Print what holds, and return the exit code."""
    best = choose_best(rounds)
    shares = {name: best[name].seconds / best[FIRST].seconds for name in (PLAIN, KEYED)}
    growth = max(one.growth for each in rounds for one in each.values())
    console.print(f"no target: {shares[PLAIN]:.3f} of COPY into a table without keys")
    rate = f"{records / best[FIRST].seconds:,.0f} records/s, {shares[KEYED]:.3f} of COPY"
    return max(
        print_verdict(f"{rate}, at least {TARGET_SHARE:.3f}", holds=shares[KEYED] >= TARGET_SHARE),
        print_verdict(
            f"memory grew by {growth / 2**20:.1f} MiB, less than {TARGET_GROWTH / 2**20:.0f}",
            holds=growth < TARGET_GROWTH,
        ),
    )


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("POST 1,000,000 production records as CSV to PostgreSQL, beside COPY of the same rows.")
    parser.add_argument("--minutes", type=int, default=100_000, help=f"of each of {FACTORIES} factories")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    records = FACTORIES * options.minutes
    with make_folder(options.folder) as folder, run_cluster(folder) as cluster:
        print_heading("POST a million records to PostgreSQL", folder)
        console.print(f"PostgreSQL {asyncio.run(cluster.run('CREATE DATABASE product', 'SHOW server_version'))}")
        with serve_product(folder, cluster.address("product")) as product:
            asyncio.run(cluster.run(*TABLES, "SELECT 1", database="product"))
            file = folder / "records.csv"
            factory_ids = [add_factory(product.server.port, number) for number in range(1, FACTORIES + 1)]
            with show_progress() as progress:
                task = progress.add_task("writing records", total=FACTORIES)
                write_records(file, factory_ids, options.minutes, partial(progress.advance, task))
            rounds = [asyncio.run(measure_round(cluster, product, file, records)) for _ in range(options.rounds)]
            others = upload_beside_readers(cluster, product, file)
    print_rounds(rounds, records)
    print_others(others)
    longest = others["beside the import"].longest
    console.print(f"no target: beside the import the longest that a reader waited was {longest * 1e3:.0f} ms")
    return print_verdicts(rounds, records)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
