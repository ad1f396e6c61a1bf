"""Try what is promised: `python -m torture`. Exits with 1 if any figure does not hold."""

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from benchmarks.report import build_parser, console, show_progress
from rich.markup import escape

from torture.figures import FIGURES, HOUR, POWER, TIMING
from torture.trials import Result, Trial

AT_ONCE = 2
"""So many figures that need no machine for themselves are tried at once, where it has to be quick."""

PROVED = "With synchronous=NORMAL it fails, as it must: the simulated disk loses what was not synced."
NOT_PROVED = "[red]With synchronous=NORMAL nothing was lost: the simulated disk proves nothing.[/]"


def read_options() -> Namespace:
    """Return what was asked for on the command line."""
    parser = build_parser("Try what is promised, and print each figure beside its target.")
    # Without any, argparse looks for the empty list among the choices.
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], help="only these", metavar="figure")
    parser.add_argument("--quick", action="store_true", help="each in a small form: all in two minutes")
    parser.add_argument(
        "--no-timing", action="store_true", help="leave out what measures time, and needs a machine for itself"
    )
    parser.add_argument("--hour", action="store_true", help="an hour of mixed load as well")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long that hour is (default: %(default)g)")
    parser.add_argument(
        "--prove",
        action="store_true",
        help="cut the power of a service that syncs less (synchronous=NORMAL): this has to fail",
    )
    return parser.parse_args()


def choose(options: Namespace) -> list[str]:
    """Return the names of the figures to try."""
    if options.prove:
        return [POWER]
    left_out = set()
    if not options.hour:
        left_out.add(HOUR)
    if options.no_timing:
        left_out.add(TIMING)
    return options.figures or [name for name in FIGURES if name not in left_out]


def try_figure(name: str, trial: Trial) -> tuple[str, Result, float]:
    """Try one figure and return it with what came of it and the seconds it took."""
    begun = time.monotonic()
    return name, FIGURES[name].run(trial), time.monotonic() - begun


def try_figures(names: Sequence[str], trial: Trial) -> Iterator[tuple[str, Result, float]]:
    """Try figures and give each as it is known: those of load at the end, one by one and in the main thread."""
    loads = [name for name in names if FIGURES[name].is_load]
    with ThreadPoolExecutor(AT_ONCE if trial.is_quick else 1) as together:
        others = [name for name in names if name not in loads]
        for name, trying in [(name, together.submit(try_figure, name, trial)) for name in others]:
            with progress_of(name):
                wait([trying])
            yield trying.result()
    for name in loads:
        with progress_of(name):
            tried = try_figure(name, trial)
        yield tried


@contextmanager
def progress_of(name: str) -> Iterator[None]:
    """Show that a figure is being tried."""
    with show_progress() as progress:
        progress.add_task(f"figure {name}", total=None)
        yield


def show(name: str, result: Result, seconds: float) -> None:
    """Print a figure: its target, whether it holds, and what was counted."""
    verdict = "[red]does not hold[/]" if result.wrong else "[green]holds[/]"
    console.print(f"[bold]{name:>8}[/]  {escape(FIGURES[name].target)}", highlight=False)
    seen = "; ".join(f"{what}: {count}" for what, count in result.counts.items())
    console.print(f"          {verdict} after {seconds:.0f} s; {escape(seen)}", highlight=False)
    if result.wrong:
        console.print(escape(result.wrong), highlight=False)


def main() -> int:
    """Try what was asked for and return the exit code."""
    options = read_options()
    trial = Trial(options.folder, options.quick, options.minutes, options.prove)
    if options.quick:
        console.print("In a small form: fewer than the targets name.")
    failed = []
    for name, result, seconds in try_figures(choose(options), trial):
        show(name, result, seconds)
        if result.wrong:
            failed.append(name)
    if options.prove:
        console.print(PROVED if failed else NOT_PROVED)
    elif failed:
        console.print(f"[red]do not hold[/]: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
