"""Run the measurements in order: `python -m benchmarks`. Exits with 1 if any target is missed."""

import sys
from collections.abc import Sequence
from types import ModuleType

from benchmarks import (
    attainment,
    authentication,
    board,
    bulk,
    bulk_postgresql,
    growth,
    hostile,
    long_history_postgresql,
    observation,
    rollups,
    side_by_side,
    starting,
)
from benchmarks.figures import keep_by_itself
from benchmarks.report import VERDICTS, Target, build_parser, console, print_closing, print_verdict

# Those of long histories are shorter here than by themselves, where they take many minutes.
SCRIPTS = (
    (starting, ()),
    (observation, ()),
    (authentication, ()),
    (hostile, ()),
    (board, ()),
    (bulk, ()),
    (attainment, ("--records", "2628000")),
    (rollups, ("--rounds", "1")),
    (bulk_postgresql, ("--rounds", "1")),
    (long_history_postgresql, ("--records", "3000000")),
)


def run(script: ModuleType, argv: Sequence[str]) -> Sequence[Target]:
    """Run one measurement and return its verdicts. One that fails has missed, and the next one runs."""
    before = len(VERDICTS)
    try:
        script.main(argv)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is printed, counts as missed, and the rest goes on
        console.print_exception()
        reason = str(error).partition("\n")[0]
        print_verdict(f"{script.__name__} ended with {type(error).__name__}: {reason}", holds=False)
    return VERDICTS[before:]


parser = build_parser("Measure the service against its targets, and beside what one would otherwise have.")
side_by_side.add_options(parser)
parser.add_argument("--growth", action="store_true", help="draw how cost grows with records, and nothing else")
options = parser.parse_args()
folder = ["--folder", str(options.folder)]
if options.growth:
    sys.exit(growth.main(folder))
verdicts_of = {side_by_side.__name__: run(side_by_side, sys.argv[1:])}
if not options.quick:
    by_itself = {script.__name__: run(script, [*folder, *extra]) for script, extra in SCRIPTS}
    verdicts_of |= by_itself
    if options.keep:
        keep_by_itself(by_itself, options.keep)
print_closing(verdicts_of)
if options.quick:
    console.print("Not run with --quick:", ", ".join(script.__name__ for script, _ in SCRIPTS))
sys.exit(int(any(verdict.holds is False for verdict in VERDICTS)))
