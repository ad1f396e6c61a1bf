"""The jobs: what is asked of a contender in one round, and what that took."""

import asyncio
import http.client
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import apsw
import asyncpg
import msgspec

from benchmarks.contenders import SPROCKET, SPROCKETS_PATH, Contender, measure_processor
from benchmarks.figures import Round
from benchmarks.load import Load, count_answers, find_rate, finish_load, start_load
from benchmarks.records import PRODUCTION_PATH, TIMEOUT
from benchmarks.servers import watch_memory

# Connections that write, while others are measured reading.
WRITERS = 4
POSTING = ("--method", "POST", "--body", SPROCKET)
COUNT = "SELECT count(*) FROM sprockets"


class Record(msgspec.Struct, frozen=True, gc=False):
    """As much of a production record as shows that it is there once."""

    factory_id: int
    time: str


def load(contender: Contender, paths: Sequence[str], connections: int, seconds: float, *extra: str) -> Round:
    """Ask on so many connections for so many seconds."""
    options = ("--connections", str(connections), "--seconds", str(seconds), "--key", contender.key, *extra)
    with watch_memory(contender.server.pid) as memory:
        before = measure_processor(contender)
        done = finish_load(start_load(contender.server.port, paths, *options))
        cpu = measure_processor(contender) - before
    return describe(done, cpu, memory.peak - memory.before)


def describe(done: Load, cpu: float | None, growth: int = 0) -> Round:
    """Return a load as a round; `cpu` is what all of it took."""
    return Round(
        answers=count_answers(done),
        cpu=None if cpu is None else cpu / count_answers(done),
        rate=find_rate(done),
        p50=done.p50,
        p99=done.p99,
        p999=done.p999,
        growth=growth,
        asking=done.cpu / done.seconds,
    )


def get_one(contender: Contender, sprockets: int, connections: int, seconds: float) -> Round:
    """GET one sprocket after the other, of so many."""
    return load(contender, [contender.one.format(number) for number in range(1, sprockets + 1)], connections, seconds)


def get_list(contender: Contender, connections: int, seconds: float) -> Round:
    """GET the whole catalogue."""
    return load(contender, [contender.all], connections, seconds)


def count_sprockets(contender: Contender) -> int:
    """Return how many sprockets are stored, past the contender."""
    if isinstance(contender.database, str):
        return asyncio.run(_count_postgresql(contender.database))
    connection = apsw.Connection(str(contender.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows: int = connection.execute(COUNT).get
        return rows
    finally:
        connection.close()


async def _count_postgresql(address: str) -> int:
    connection = await asyncpg.connect(address)
    try:
        rows: int = await connection.fetchval(COUNT)
        return rows
    finally:
        await connection.close()


def check_stored(contender: Contender, before: int, answers: int) -> None:
    """Raise RuntimeError unless there is a row more than `before` for each answer to a POST."""
    stored = count_sprockets(contender) - before
    if stored != answers:
        raise RuntimeError(f"{contender.name} stored {stored} sprockets and answered {answers} times.")


def post_one(contender: Contender, connections: int, seconds: float) -> Round:
    """POST sprockets. Raises RuntimeError unless there is one new row for each answer."""
    before = count_sprockets(contender)
    measured = load(contender, [SPROCKETS_PATH], connections, seconds, *POSTING)
    check_stored(contender, before, measured.answers)
    return measured


@contextmanager
def asking(contender: Contender, paths: Sequence[str], connections: int, *extra: str) -> Iterator[list[Load]]:
    """Ask a contender to the end of the block; what came of it is in the list then."""
    options = ("--connections", str(connections), "--seconds", str(TIMEOUT), "--key", contender.key, *extra)
    process = start_load(contender.server.port, paths, *options)
    done: list[Load] = []
    try:
        yield done
    finally:
        process.terminate()
        done.append(finish_load(process))


def get_one_during_posts(contender: Contender, sprockets: int, connections: int, seconds: float) -> Round:
    """GET one sprocket after the other while others POST. The processor time is of both, and so is told for neither.

    Raises RuntimeError unless there is one new row for each answer to those.
    """
    before = count_sprockets(contender)
    with asking(contender, [SPROCKETS_PATH], WRITERS, *POSTING) as writes:
        reads = get_one(contender, sprockets, connections, seconds)
    check_stored(contender, before, count_answers(writes[0]))
    return msgspec.structs.replace(reads, cpu=None)


def read_chunks(contender: Contender, path: str) -> Iterator[bytes]:
    """Yield the body of one answer as it arrives.

    Raises RuntimeError if the answer is not 200, http.client.IncompleteRead if it breaks off.
    """
    headers = {"Accept": "application/json", "Authorization": f"Bearer {contender.key}"}
    connection = http.client.HTTPConnection("127.0.0.1", contender.server.port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers=headers if contender.key else {})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"GET {path} was answered with {answer.status}: {answer.read(2000)!r}")
        while chunk := answer.read1(1 << 18):
            yield chunk
    finally:
        connection.close()


def get_records(contender: Contender, path: str, records: int) -> Round:
    """GET production whole, so many records.

    Nothing is decoded while it comes: the reader shares the server's cores. Raises RuntimeError if the list is not one
    JSON array of so many records in order, each once.
    """
    with watch_memory(contender.server.pid) as memory:
        cpu, asked, started_at = measure_processor(contender), time.process_time(), time.perf_counter()
        body = b"".join(read_chunks(contender, path))
        seconds, asked = time.perf_counter() - started_at, time.process_time() - asked
        cpu = measure_processor(contender) - cpu
    found = msgspec.json.decode(body, type=list[Record])
    in_order = all((one.factory_id, one.time) < (other.factory_id, other.time) for one, other in pairwise(found))
    if len(found) != records or not in_order:
        raise RuntimeError(f"{contender.name} listed {len(found):,} records, not {records:,} in order, each once.")
    return Round(
        answers=1,
        cpu=cpu,
        rate=records / seconds,
        p50=seconds,
        growth=memory.peak - memory.before,
        asking=asked / seconds,
    )


def get_one_beside_list(contender: Contender, sprockets: int, connections: int, records: int) -> Round:
    """GET one sprocket after the other while somebody reads production whole."""
    paths = [contender.one.format(number) for number in range(1, sprockets + 1)]
    with asking(contender, paths, connections) as done:
        get_records(contender, PRODUCTION_PATH, records)
    return describe(done[0], None)


def post_records(contender: Contender, file: Path, records: int) -> Round:
    """POST a CSV file of so many new records. Raises RuntimeError unless all are created."""
    headers = {"Authorization": f"Bearer {contender.key}", "Content-Type": "text/csv"}
    connection = http.client.HTTPConnection("127.0.0.1", contender.server.port, timeout=TIMEOUT)
    with watch_memory(contender.server.pid) as memory:
        cpu, started_at = measure_processor(contender), time.perf_counter()
        with file.open("rb") as content:
            connection.request(
                "POST", PRODUCTION_PATH, content, {**headers, "Content-Length": str(file.stat().st_size)}
            )
            answer = connection.getresponse().read()
        seconds, cpu = time.perf_counter() - started_at, measure_processor(contender) - cpu
    connection.close()
    if msgspec.json.decode(answer).get("created") != records:
        raise RuntimeError(f"{contender.name} answered {answer[:500]!r}.")
    return Round(answers=1, cpu=cpu, rate=records / seconds, p50=seconds, growth=memory.peak - memory.before)
