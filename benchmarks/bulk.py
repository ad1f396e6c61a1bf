"""POST 1,000,000 production records as CSV, twice, while others read and one writes.

The product alone, since what is looked at is what it promises of itself: the import is quick, its memory stays flat,
the readers are still served, and the writer is answered or refused in time. Exits with 1 if any of that does not hold.
"""

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.table import Table

from benchmarks.contenders import (
    SPROCKET,
    SPROCKETS_PATH,
    Contender,
    count_rows,
    get_sprockets,
    list_sprocket_paths,
    post_sprockets,
    serve_product,
)
from benchmarks.load import Load, finish_load, start_load
from benchmarks.records import (
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

FACTORIES_PATH = "/sprocketFactory/v1/factories"
TARGET_SECONDS = 8.0
# Bytes by which the server's resident memory may grow during one import.
TARGET_GROWTH = 100 * 1024 * 1024
# A write that meets the merge is stored or refused within the busy time-out of 5 s; one second is slack.
TARGET_WAIT = 5.0 + 1.0
REFUSED = http.HTTPStatus.SERVICE_UNAVAILABLE
BLOCK = 1 << 16

T = TypeVar("T")


class Merged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the product says that it did with the rows."""

    records: int
    created: int
    replaced: int
    unchanged: int
    skipped: int


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One import as it was answered. Seconds from its beginning: `sent` to its last block, `seconds` to its answer."""

    answer: Merged
    sent: float
    seconds: float
    memory: Memory


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """How those fared who called meanwhile. `stored` counts the sprockets that the writer added to the database."""

    others: Load
    writer: Load
    stored: int


def request(port: int, path: str, media_type: str, body: "bytes | Iterator[bytes]", **headers: str) -> bytes:
    """POST a body, in chunks if it is an iterator without a `Content-Length`, and return what is answered.

    Raises RuntimeError if the answer is not 2xx.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        # A server that refuses early stops reading; its answer says why.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", path, body, {"Content-Type": media_type, **headers})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status not in {http.HTTPStatus.OK, http.HTTPStatus.CREATED}:
        raise RuntimeError(f"POST {path} was answered with {answer.status}: {content[:2000]!r}")
    return content


def add_factory(port: int, number: int) -> int:
    """Make a factory known and return its id."""
    body = msgspec.json.encode({"name": f"Factory {number}", "time_zone": "UTC"})
    factory_id: int = msgspec.json.decode(request(port, FACTORIES_PATH, "application/json", body))["id"]
    return factory_id


def read_blocks(file: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    """Yield a file in blocks; `advance` is called with the size of each before it is sent."""
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            advance(len(block))
            yield block


def upload(contender: Contender, file: Path, *, chunked: bool) -> Upload:
    """Send the file and wait for the answer, with a progress bar, watching the server's memory."""
    size = file.stat().st_size
    sent_at = 0.0
    with watch_memory(contender.server.pid) as memory, show_progress() as progress:
        task = progress.add_task("sending bytes", total=size)

        def advance(sent: int) -> None:
            nonlocal sent_at
            sent_at = time.perf_counter()
            progress.advance(task, sent)

        # http.client sends an iterator in chunks unless it is told a length.
        headers = {} if chunked else {"Content-Length": str(size)}
        started_at = time.perf_counter()
        content = request(contender.server.port, PRODUCTION_PATH, "text/csv", read_blocks(file, advance), **headers)
        seconds = time.perf_counter() - started_at
    answer = msgspec.json.decode(content, type=Merged)
    return Upload(answer=answer, sent=sent_at - started_at, seconds=seconds, memory=memory)


@contextmanager
def calling(contender: Contender, paths: Sequence[str], *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Call the contender from another process to the end of the block."""
    process = start_load(contender.server.port, paths, "--seconds", str(TIMEOUT), *options)
    try:
        yield process
    finally:
        process.terminate()


def do_beside_callers(contender: Contender, paths: Sequence[str], act: Callable[[], T]) -> tuple[T, Beside]:
    """Act while the others read and one writes; return what came of the act, and of them.

    Raises RuntimeError if a reader is not answered with 2xx, or the writer with neither that nor a refusal.
    """
    before = count_rows(contender, "sprockets")
    reads = ("--connections", str(OTHERS))
    writes = ("--connections", "1", "--method", "POST", "--body", SPROCKET)
    with (
        calling(contender, paths, *reads) as others,
        calling(contender, [SPROCKETS_PATH], *writes) as writer,
    ):
        result = act()
    read, written = finish_load(others), finish_load(writer, REFUSED)
    stored = count_rows(contender, "sprockets") - before
    return result, Beside(others=read, writer=written, stored=stored)


def print_uploads(uploads: dict[str, Upload], size: int) -> None:
    """Print what each import took."""
    table = Table("import", "records", "MB", "seconds", "of that sending", "records/s", "RSS before", "RSS growth")
    for name, one in uploads.items():
        table.add_row(
            name,
            f"{one.answer.records:,}",
            f"{size / 1e6:.1f}",
            f"{one.seconds:.2f}",
            f"{one.sent:.2f}",
            f"{one.answer.records / one.seconds:,.0f}",
            f"{one.memory.before / 2**20:.1f} MiB",
            f"{(one.memory.peak - one.memory.before) / 2**20:.1f} MiB",
        )
    console.print(table)


def print_writer(besides: dict[str, Beside]) -> None:
    """Print how the one writer fared."""
    table = Table("1 writer", "201", "503", "p50 ms", "p99 ms", "longest ms")
    for name, one in besides.items():
        load = one.writer
        counts = (f"{load.statuses.get(status, 0):,}" for status in (http.HTTPStatus.CREATED, REFUSED))
        table.add_row(name, *counts, *(f"{wait * 1e3:.2f}" for wait in (load.p50, load.p99, load.longest)))
    console.print(table)


def judge(name: str, one: Upload, expected: Merged) -> int:
    """Print which of the targets one import holds, and return the exit code."""
    growth = one.memory.peak - one.memory.before
    answered = msgspec.json.encode(one.answer).decode()
    verdicts = [
        print_verdict(f"{name}: {answered}", holds=one.answer == expected),
        print_verdict(
            f"{name}: {one.seconds:.2f} s, less than {TARGET_SECONDS:.0f}", holds=one.seconds < TARGET_SECONDS
        ),
        print_verdict(
            f"{name}: memory grew by {growth / 2**20:.1f} MiB, less than {TARGET_GROWTH / 2**20:.0f}",
            holds=growth < TARGET_GROWTH,
        ),
    ]
    return max(verdicts)


def judge_writer(name: str, beside: Beside) -> int:
    """Print whether the one writer was answered in time and told the truth, and return the exit code."""
    created = beside.writer.statuses.get(http.HTTPStatus.CREATED, 0)
    only_known = beside.writer.statuses.keys() <= {http.HTTPStatus.CREATED, REFUSED}
    verdicts = [
        print_verdict(
            f"{name}: the writer waited {beside.writer.longest:.2f} s at most, no more than {TARGET_WAIT:.0f}",
            holds=beside.writer.longest <= TARGET_WAIT,
        ),
        print_verdict(
            f"{name}: the writer was told 201 {created:,} times, and {beside.stored:,} sprockets are stored",
            holds=only_known and created == beside.stored,
        ),
    ]
    return max(verdicts)


def import_beside_callers(
    contender: Contender, sends: Mapping[str, Callable[[], Upload]]
) -> tuple[dict[str, Upload], dict[str, Beside]]:
    """Send everything while others read and one writes; return what came of it, and of them, also before it."""
    post_sprockets(contender, 1, requests=OTHERS)
    paths = list_sprocket_paths(contender)
    get_sprockets(contender, paths, OTHERS, WARM_UP)
    _, alone = do_beside_callers(contender, paths, partial(time.sleep, IDLE))
    results = {name: do_beside_callers(contender, paths, send) for name, send in sends.items()}
    uploads = {name: one for name, (one, _) in results.items()}
    return uploads, {"alone": alone} | {name: beside for name, (_, beside) in results.items()}


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser(
        "POST 1,000,000 production records as CSV: time, memory, and how others are served meanwhile."
    )
    parser.add_argument("--minutes", type=int, default=100_000, help=f"of each of {FACTORIES} factories")
    parser.add_argument("--chunked", action="store_true", help="send the body in chunks, without its length")
    parser.add_argument("--alone", action="store_true", help="let nobody call meanwhile")
    options = parser.parse_args(argv)
    records = FACTORIES * options.minutes
    nothing = Merged(records=records, created=0, replaced=0, unchanged=0, skipped=0)
    expected = {
        "first": msgspec.structs.replace(nothing, created=records),
        "again": msgspec.structs.replace(nothing, unchanged=records),
    }
    with make_folder(options.folder) as folder, serve_product(folder) as product:
        print_heading("POST a million records", folder)
        file = folder / "records.csv"
        factory_ids = [add_factory(product.server.port, number) for number in range(1, FACTORIES + 1)]
        with show_progress() as progress:
            task = progress.add_task("writing records", total=FACTORIES)
            write_records(file, factory_ids, options.minutes, partial(progress.advance, task))
        size = file.stat().st_size
        sends = dict.fromkeys(expected, partial(upload, product, file, chunked=options.chunked))
        besides: dict[str, Beside] = {}
        if options.alone:
            uploads = {name: send() for name, send in sends.items()}
        else:
            uploads, besides = import_beside_callers(product, sends)
        stored = count_rows(product, "production")
    print_uploads(uploads, size)
    if besides:
        print_others({name: beside.others for name, beside in besides.items()})
        print_writer(besides)
    verdicts = [judge(name, one, expected[name]) for name, one in uploads.items()]
    verdicts += [judge_writer(name, beside) for name, beside in besides.items() if name in uploads]
    return max(*verdicts, print_verdict(f"{stored:,} records are stored", holds=stored == records))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
