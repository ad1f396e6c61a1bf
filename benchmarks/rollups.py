"""POST 300,000 production records as CSV: what it costs an import that the sums for attainment are kept right in it.

The product and itself without the sums, on SQLite and on PostgreSQL, in turn; each round brings the minutes that follow
those of the one before. Of each the round that cost least is reported, in processor time: of the service, and on
PostgreSQL of its server as well. Nothing is judged.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks.bulk import Merged, add_factory, upload
from benchmarks.contenders import SPROCKETS_PATH, Contender, build_environment
from benchmarks.postgresql import run_cluster
from benchmarks.records import BEGIN, FACTORIES, write_records
from benchmarks.report import build_parser, console, make_folder, print_heading, show_progress
from benchmarks.servers import measure_cpu, serve

PROGRAMS = {"with sums": "sprocket_factory", "without": "benchmarks.baselines.unsummed"}


class Importer(NamedTuple):
    """A running contender, with the factories that it has records of and the processes that work for it."""

    contender: Contender
    factory_ids: Sequence[int]
    pids: Sequence[int]


class Turn(NamedTuple):
    """What one import took, in seconds: of processor time, and by the clock."""

    processor: float
    clock: float


@contextmanager
def serve_program(program: str, name: str, address: str, folder: Path, *more_pids: int) -> Iterator[Importer]:
    """Run the product in one of its forms, with some factories in it, to the end of the block."""

    def argv_for(port: int) -> Sequence[str]:
        command = [sys.executable, "-m", program, "serve", "--port", str(port)]
        return [*command, "--database-url", address, "--anonymous-role", "engineer"]

    with serve(argv_for, build_environment(), folder, SPROCKETS_PATH) as server:
        factory_ids = [add_factory(server.port, number) for number in range(1, FACTORIES + 1)]
        yield Importer(Contender(name=name, server=server, database=address), factory_ids, (server.pid, *more_pids))


def measure(importer: Importer, file: Path, records: int) -> Turn:
    """Import the file and return what that took. Raises RuntimeError if not every record is new."""
    before = sum(map(measure_cpu, importer.pids))
    began = time.perf_counter()
    answer = upload(importer.contender, file, chunked=False).answer
    turn = Turn(sum(map(measure_cpu, importer.pids)) - before, time.perf_counter() - began)
    if answer != Merged(records=records, created=records, replaced=0, unchanged=0, skipped=0):
        raise RuntimeError(f"{importer.contender.name} answered {answer}.")
    return turn


def print_turns(turns: dict[str, list[Turn]], records: int) -> None:
    """Print what the cheapest turn of each took."""
    table = Table("", "CPU s", "of each round", "s by the clock", "µs CPU a record")
    for name, each in turns.items():
        best = min(each)
        rounds = " ".join(f"{turn.processor:.2f}" for turn in each)
        a_record = f"{best.processor / records * 1e6:.2f}"
        table.add_row(name, f"{best.processor:.2f}", rounds, f"{best.clock:.2f}", a_record)
    console.print(table)


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("POST 300,000 production records as CSV, with the sums for attainment and without.")
    parser.add_argument("--minutes", type=int, default=30_000, help=f"of each of {FACTORIES} factories, each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    records = FACTORIES * options.minutes
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("What the sums cost an import", folder)
        cluster = stack.enter_context(run_cluster(folder))
        running: list[Importer] = []
        for place, (name, program) in enumerate(PROGRAMS.items()):
            asyncio.run(cluster.run(f"CREATE DATABASE product_{place}", "SELECT 1"))
            on_sqlite = serve_program(program, f"SQLite, {name}", f"sqlite:///{folder}/{place}.db", folder)
            on_postgresql = serve_program(
                program, f"PostgreSQL, {name}", cluster.address(f"product_{place}"), folder, cluster.pid
            )
            running += [stack.enter_context(one) for one in (on_sqlite, on_postgresql)]
        running.sort(key=lambda one: one.contender.name)
        turns: dict[str, list[Turn]] = {one.contender.name: [] for one in running}
        with show_progress() as progress:
            task = progress.add_task("imports", total=options.rounds * len(running))
            for number in range(options.rounds):
                begin = BEGIN + timedelta(minutes=number * options.minutes)
                file = folder / "records.csv"
                write_records(file, running[0].factory_ids, options.minutes, lambda: None, begin)
                for one in running:
                    turns[one.contender.name].append(measure(one, file, records))
                    progress.advance(task)
    print_turns(turns, records)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
