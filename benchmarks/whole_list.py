"""GET a list of a million production records whole, while others ask for single sprockets.

The product alone, since what is looked at is what it promises of itself: the list comes whole, the memory stays flat,
and the others are still served. Exits with 1 if the list is not whole or the memory grows beyond the target.
"""

import http.client
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import apsw
import msgspec
from rich.table import Table

from benchmarks.contenders import (
    Contender,
    get_sprockets,
    list_sprocket_paths,
    load_product,
    post_sprockets,
    serve_product,
)
from benchmarks.load import Load, finish_load, start_load
from benchmarks.records import (
    BEGIN,
    FACTORIES,
    IDLE,
    OTHERS,
    PRODUCTION_PATH,
    TIMEOUT,
    WARM_UP,
    print_others,
    write_records,
)
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import Memory, watch_memory

# Bytes by which the server's resident memory may grow while it lists.
TARGET = 64 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, gc=False):
    """As much of a production record as shows that it is there once."""

    factory_id: int
    time: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One whole list as it came. Times are in seconds from sending the request, to the first byte and to the last."""

    first: float
    seconds: float
    body: bytes


def write_factories(file: Path) -> None:
    """Write a JSON file of factories, each with the one record that makes it one with production."""
    # One minute before the others, so that no record comes twice.
    at = int((BEGIN - timedelta(minutes=1)).timestamp())
    chart = {"sprocket_production_actual": [31], "sprocket_production_goal": [32], "time": [at]}
    factories = [{"factory": {"name": f"Factory {n}", "chart_data": chart}} for n in range(1, FACTORIES + 1)]
    file.write_bytes(msgspec.json.encode({"factories": factories}))


def list_factory_ids(database: Path) -> list[int]:
    """Return the ids that the product gave to the factories."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [factory_id for (factory_id,) in connection.execute("SELECT id FROM factories ORDER BY id")]
    finally:
        connection.close()


def fill(folder: Path, minutes: int) -> None:
    """Fill the product's database through its own `load`: the factories, then so many minutes of each."""
    factories, records = folder / "factories.json", folder / "records.csv"
    with show_progress() as progress:
        write_factories(factories)
        load_product(folder, factories)
        task = progress.add_task("writing records", total=FACTORIES)
        write_records(records, list_factory_ids(folder / "product.db"), minutes, lambda: progress.advance(task))
        task = progress.add_task("loading them", total=None)
        started_at = time.perf_counter()
        load_product(folder, records)
    console.print(f"loaded {FACTORIES * minutes:,} records in {time.perf_counter() - started_at:.1f} s")


def read_chunks(port: int, path: str) -> Iterator[bytes]:
    """Yield the body of one answer as it arrives.

    Raises RuntimeError if the answer is not 200, http.client.IncompleteRead if it breaks off.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"GET {path} was answered with {answer.status}: {answer.read(2000)!r}")
        while chunk := answer.read1(1 << 18):
            yield chunk
    finally:
        connection.close()


def read_whole_list(port: int, expected: int) -> Listing:
    """Read all production, with a progress bar. Nothing is decoded meanwhile: the reader shares the server's cores."""
    chunks = []
    started_at = time.perf_counter()
    first = 0.0
    with show_progress() as progress:
        task = progress.add_task("reading records", total=expected)
        for chunk in read_chunks(port, PRODUCTION_PATH):
            first = first or time.perf_counter() - started_at
            chunks.append(chunk)
            progress.advance(task, chunk.count(b"{"))
        seconds = time.perf_counter() - started_at
    return Listing(first=first, seconds=seconds, body=b"".join(chunks))


def list_amid_others(contender: Contender, paths: Sequence[str], expected: int) -> tuple[Listing, Memory, Load]:
    """Read the whole list while others ask for single sprockets from just before it to just after."""
    others = start_load(contender.server.port, paths, "--connections", str(OTHERS), "--seconds", str(TIMEOUT))
    try:
        with watch_memory(contender.server.pid) as memory:
            listing = read_whole_list(contender.server.port, expected)
    finally:
        others.terminate()
    return listing, memory, finish_load(others)


def count_records(body: bytes) -> int:
    """Return how many records a list holds. Raises if it is not one whole JSON array of records in order, each once."""
    records = msgspec.json.decode(body, type=list[Record])
    if any((one.factory_id, one.time) >= (other.factory_id, other.time) for one, other in pairwise(records)):
        raise RuntimeError("The records are not in order of factory and time, each once.")
    return len(records)


def print_listing(listing: Listing, memory: Memory, records: int) -> None:
    """Print what the list took."""
    table = Table("records", "bytes", "seconds", "to the first byte", "records/s", "RSS before", "RSS growth")
    table.add_row(
        f"{records:,}",
        f"{len(listing.body):,}",
        f"{listing.seconds:.2f}",
        f"{listing.first * 1e3:.1f} ms",
        f"{records / listing.seconds:,.0f}",
        f"{memory.before / 2**20:.1f} MiB",
        f"{(memory.peak - memory.before) / 2**20:.1f} MiB",
    )
    console.print(table)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET 1,000,000 production records whole: time, memory, and how others are served meanwhile.")
    parser.add_argument("--minutes", type=int, default=100_000, help=f"of each of {FACTORIES} factories")
    options = parser.parse_args(argv)
    # One record more per factory: the one that came with it.
    expected = FACTORIES * (options.minutes + 1)
    with make_folder(options.folder) as folder:
        print_heading("GET a million records whole", folder)
        fill(folder, options.minutes)
        with serve_product(folder) as product:
            post_sprockets(product, 1, requests=OTHERS)
            paths = list_sprocket_paths(product)
            get_sprockets(product, paths, OTHERS, WARM_UP)
            idle = get_sprockets(product, paths, OTHERS, IDLE)
            listing, memory, amid = list_amid_others(product, paths, expected)
    records = count_records(listing.body)
    print_listing(listing, memory, records)
    print_others({"alone": idle, "beside the list": amid})
    whole = print_verdict(f"{records:,} of {expected:,} records, JSON whole, each once", holds=records == expected)
    growth = memory.peak - memory.before
    grew = f"memory grew by {growth / 2**20:.1f} MiB, less than {TARGET / 2**20:.0f}"
    return max(whole, print_verdict(grew, holds=growth < TARGET))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
