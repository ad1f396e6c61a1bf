"""Try what is promised: `python -m torture`. Exits with 1 if any figure does not hold."""

import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import build_parser, console, make_folder, show_progress
from rich.markup import escape

from torture.figures import FIGURES, HOUR, POWER, TIMING
from torture.trials import Result, Trial

AT_ONCE = 2
"""So many figures that need no machine for themselves are tried at once, where it has to be quick."""

PROVED = "With synchronous=NORMAL it fails, as it must: the simulated disk loses what was not synced."
NOT_PROVED = "[red]With synchronous=NORMAL no acknowledged write is known to be lost: this proves nothing.[/]"

DOES_NOT_HOLD = 1
IS_NOT_PROVED = 2


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
    """Try one figure and return it with what came of it and the seconds it took.

    One that cannot be tried does not hold, and the others are tried none the less.
    """
    begun = time.monotonic()
    try:
        result = FIGURES[name].run(trial)
    except Exception:  # noqa: BLE001 - whatever it is, it is told, and it may not take the other verdicts with it
        result = Result({}, traceback.format_exc())
    return name, result, time.monotonic() - begun


def try_figures(names: Sequence[str], trial: Trial) -> Iterator[tuple[str, Result, float]]:
    """Try figures and give each as it is known: those of load at the end, one by one and in the main thread."""
    loads = [name for name in names if FIGURES[name].is_load]
    together = ThreadPoolExecutor(AT_ONCE if trial.is_quick else 1)
    try:
        others = [name for name in names if name not in loads]
        for name, trying in [(name, together.submit(try_figure, name, trial)) for name in others]:
            with progress_of(name):
                wait([trying])
            yield trying.result()
    finally:
        together.shutdown(cancel_futures=True)  # whoever is told to stop begins nothing more
    for name in loads:
        with progress_of(name), TemporaryDirectory(dir=trial.folder) as own:
            tried = try_figure(name, trial._replace(folder=Path(own)))
        yield tried


@contextmanager
def progress_of(name: str) -> Iterator[None]:
    """Show that a figure is being tried."""
    with show_progress() as progress:
        progress.add_task(f"figure {name}", total=None)
        yield


@contextmanager
def folder_for(names: Sequence[str], inside: Path) -> Iterator[Path]:
    """Make a folder for figures that need a disk. Exits where there is none, before anything is tried."""
    if any(FIGURES[name].is_load for name in names):
        with make_folder(inside) as folder:
            yield folder
    else:
        yield inside


def show(name: str, result: Result, seconds: float, target: str) -> None:
    """Print a figure: its target, whether it holds, and what was counted."""
    verdict = "[red]does not hold[/]" if result.wrong else "[green]holds[/]"
    console.print(f"[bold]{name:>8}[/]  {escape(target)}", highlight=False)
    seen = [f"{what}: {count}" for what, count in result.counts.items()]
    console.print(f"          {verdict} after {'; '.join([f'{seconds:.0f} s', *map(escape, seen)])}", highlight=False)
    if result.wrong:
        console.print(escape(result.wrong), highlight=False)


def tell_whether_proved(result: Result) -> int:
    """Print whether power cuts show that less is synced, and return the exit code.

    A test may fail for any reason; what proves something is that acknowledged writes are gone.
    """
    is_proved = int(result.counts.get("lost", "0")) > 0
    console.print(PROVED if is_proved else NOT_PROVED)
    return DOES_NOT_HOLD if is_proved else IS_NOT_PROVED


def main() -> int:
    """Try what was asked for and return the exit code."""
    options = read_options()
    if options.quick:
        console.print("In a small form: fewer than the targets name.")
    names = choose(options)
    results = {}
    with folder_for(names, options.folder) as folder:
        trial = Trial(folder, options.quick, options.minutes, options.prove)
        for name, result, seconds in try_figures(names, trial):
            show(name, result, seconds, FIGURES[name].target.format(minutes=options.minutes))
            results[name] = result
    if options.prove:
        return tell_whether_proved(results[POWER])
    failed = [name for name, result in results.items() if result.wrong]
    if failed:
        console.print(f"[red]do not hold[/]: {', '.join(failed)}")
    return DOES_NOT_HOLD if failed else 0


if __name__ == "__main__":
    sys.exit(main())
