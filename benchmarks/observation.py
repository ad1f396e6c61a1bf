"""GET one sprocket: what it costs a request that the service is observed, part by part.

Each contender has one part more than the one before. All run at once and are asked in turn; of each the round that cost
least is reported. Exits with 1 if the whole, with a key, takes more than so many times the bare limit.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks.contenders import SPROCKETS_PATH, Contender, build_environment, serve_baseline
from benchmarks.load import count_answers, finish_load, start_load
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import measure_cpu, serve

TARGET = 3.5
SPROCKETS = 60
WARM_UP = 1.0
SPROCKET = '{"teeth":20,"pitch_diameter":162.37,"outside_diameter":175.61,"pitch":25.4}'

PRODUCT = "sprocket_factory"
UNOBSERVED = "benchmarks.baselines.unobserved"


class Part(NamedTuple):
    """A contender: what it has more than the one before, and how it is started and asked."""

    name: str
    program: str
    options: tuple[str, ...] = ()
    with_key: bool = False


PARTS = (
    Part("product, unobserved", UNOBSERVED),
    Part("+ id, counts, timings", PRODUCT, ("--log-levels", "sprocket_factory.access=warning")),
    Part("+ a log line", PRODUCT),
    Part("+ a key", PRODUCT, with_key=True),
    Part("+ traces (an extra)", PRODUCT, ("--traces",), with_key=True),
)
WHOLE = "+ a key"


class Asked(NamedTuple):
    """A running contender and how it is asked."""

    contender: Contender
    paths: Sequence[str]
    extra: tuple[str, ...]


@contextmanager
def serve_part(part: Part, folder: Path) -> Iterator[Asked]:
    """Run a contender with some sprockets in it, to the end of the block."""
    database = f"sqlite:///{folder / part.name.replace(' ', '_')}.db"
    # Nobody takes the spans, and after the first refusals they are let go of: what making them costs is what counts.
    environment = build_environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    extra: tuple[str, ...] = ()
    if part.with_key:
        argv = [sys.executable, "-m", PRODUCT, "key", "add", "bench", "--role", "engineer", "--database-url", database]
        made = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        secret = next(line for line in made.stdout.split() if line.startswith("sfk_"))
        extra = ("--key", secret)

    def argv_for(port: int) -> Sequence[str]:
        command = [sys.executable, "-m", part.program, "serve", "--port", str(port), "--database-url", database]
        return [*command, "--anonymous-role", "engineer", *part.options]

    with serve(argv_for, environment, folder, SPROCKETS_PATH) as server:
        yield fill(Contender(name=part.name, server=server, database=database), extra)


def fill(contender: Contender, extra: tuple[str, ...]) -> Asked:
    """Store some sprockets, and return how they are asked for."""
    post = ("--method", "POST", "--body", SPROCKET, "--connections", "1", "--requests", str(SPROCKETS))
    finish_load(start_load(contender.server.port, [SPROCKETS_PATH], *post))
    return Asked(contender, [f"{SPROCKETS_PATH}/{number}" for number in range(1, SPROCKETS + 1)], extra)


def measure(asked: Asked, connections: int, seconds: float) -> float:
    """Return the processor time in seconds that a request takes."""
    pid = asked.contender.server.pid
    before = measure_cpu(pid)
    options = ("--connections", str(connections), "--seconds", str(seconds), *asked.extra)
    load = finish_load(start_load(asked.contender.server.port, asked.paths, *options))
    return (measure_cpu(pid) - before) / count_answers(load)


def print_parts(rounds: dict[str, list[float]]) -> float:
    """Print what each part costs, and return how many times the bare limit the whole takes."""
    best = {name: min(costs) for name, costs in rounds.items()}
    table = Table("", "µs CPU", "of each round", "more", "to bare")
    before = 0.0
    for name, cost in best.items():
        more = f"{(cost - before) * 1e6:+.1f}" if before else ""
        each = " ".join(f"{one * 1e6:.1f}" for one in rounds[name])
        table.add_row(name, f"{cost * 1e6:.1f}", each, more, f"{cost / best['bare']:.2f}")
        before = cost
    console.print(table)
    return best[WHOLE] / best["bare"]


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one sprocket: what observing it costs, part by part.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("What observing a request costs", folder)
        contenders = [fill(stack.enter_context(serve_baseline("bare", folder)), ())]
        contenders += [stack.enter_context(serve_part(part, folder)) for part in PARTS]
        rounds: dict[str, list[float]] = {asked.contender.name: [] for asked in contenders}
        with show_progress() as progress:
            task = progress.add_task("rounds", total=options.rounds * len(contenders))
            for asked in contenders:
                measure(asked, options.connections, WARM_UP)
            for _ in range(options.rounds):
                for asked in contenders:
                    rounds[asked.contender.name].append(measure(asked, options.connections, options.seconds))
                    progress.advance(task)
    ratio = print_parts(rounds)
    return print_verdict(f"everything on {ratio:.2f} times bare, at most {TARGET}", holds=ratio <= TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
