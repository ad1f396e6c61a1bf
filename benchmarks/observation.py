"""GET one sprocket: what it costs a request that the service is observed, part by part.

Each contender has one part more than the one before. All run at once and are asked in turn; of each the round that cost
least is reported. Exits with 1 if the whole, with a key, takes more than so many times the bare limit, or the key alone
more than so much.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks import jobs
from benchmarks.contenders import SPROCKETS_PATH, Contender, build_environment, make_key, migrate_product
from benchmarks.filling import Stock, fill_sqlite
from benchmarks.lineup import BARE, SPROCKETS, serve_bare
from benchmarks.report import build_parser, console, make_folder, print_heading, print_verdict, show_progress
from benchmarks.servers import serve

# How many times the processor time of the bare limit everything together may take.
TARGET = 3.0
# Seconds of processor time that a key may add.
KEY_TARGET = 15e-6
WARM_UP = 1.0

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
STOCK = Stock([], SPROCKETS)
BEFORE_KEY, WHOLE = "+ a log line", "+ a key"


@contextmanager
def serve_part(part: Part, folder: Path) -> Iterator[Contender]:
    """Run a part in a folder of its own, with some sprockets in it, to the end of the block."""
    folder = folder / part.name.replace(" ", "_")
    folder.mkdir()
    folder.joinpath(".env").touch()
    file = folder / "product.db"
    migrate_product(folder, f"sqlite:///{file}")
    fill_sqlite(file, STOCK)
    # Nobody takes the spans, and after the first refusals they are let go of: what making them costs is what counts.
    environment = build_environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}

    def argv_for(port: int) -> Sequence[str]:
        command = [sys.executable, "-m", part.program, "serve", "--port", str(port)]
        return [*command, "--database-url", f"sqlite:///{file}", "--anonymous-role", "engineer", *part.options]

    with serve(argv_for, environment, folder, SPROCKETS_PATH) as server:
        key = make_key(folder, "engineer") if part.with_key else ""
        yield Contender(name=part.name, server=server, database=file, key=key)


def print_parts(rounds: dict[str, list[float]]) -> dict[str, float]:
    """Print what each part costs, and return the seconds of processor time of the best round of each."""
    best = {name: min(costs) for name, costs in rounds.items()}
    table = Table("", "µs CPU", "of each round", "more", "to bare")
    before = 0.0
    for name, cost in best.items():
        more = f"{(cost - before) * 1e6:+.1f}" if before else ""
        each = " ".join(f"{one * 1e6:.1f}" for one in rounds[name])
        table.add_row(name, f"{cost * 1e6:.1f}", each, more, f"{cost / best[BARE]:.2f}")
        before = cost
    console.print(table)
    return best


def main(argv: Sequence[str]) -> int:
    """Run the measurement and return the exit code."""
    parser = build_parser("GET one sprocket: what observing it costs, part by part.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(argv)
    with make_folder(options.folder) as folder, ExitStack() as stack:
        print_heading("What observing a request costs", folder)
        contenders = [stack.enter_context(serve_bare(folder, STOCK))]
        contenders += [stack.enter_context(serve_part(part, folder)) for part in PARTS]
        rounds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        with show_progress() as progress:
            task = progress.add_task("rounds", total=options.rounds * len(contenders))
            for contender in contenders:
                jobs.get_one(contender, SPROCKETS, options.connections, WARM_UP)
            for _ in range(options.rounds):
                for contender in contenders:
                    one = jobs.get_one(contender, SPROCKETS, options.connections, options.seconds)
                    rounds[contender.name].append(one.cpu or 0.0)
                    progress.advance(task)
    best = print_parts(rounds)
    ratio, key = best[WHOLE] / best[BARE], best[WHOLE] - best[BEFORE_KEY]
    whole = print_verdict(f"everything on {ratio:.2f} times bare, at most {TARGET:g}", holds=ratio <= TARGET)
    told = f"a key costs {key * 1e6:.1f} µs of processor time, less than {KEY_TARGET * 1e6:.0f}"
    return max(whole, print_verdict(told, holds=key < KEY_TARGET))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
