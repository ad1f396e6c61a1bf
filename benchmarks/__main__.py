"""Run the measurements in order: `python -m benchmarks`. Exits with 1 if any target is missed."""

import sys

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
from benchmarks.report import build_parser

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

parser = build_parser("Measure the service against its targets, and beside what one would otherwise have.")
side_by_side.add_options(parser)
parser.add_argument("--growth", action="store_true", help="draw how cost grows with records, and nothing else")
options = parser.parse_args()
folder = ["--folder", str(options.folder)]
if options.growth:
    sys.exit(growth.main(folder))
code = side_by_side.main(sys.argv[1:])
if not options.quick:
    code = max(code, *(script.main([*folder, *extra]) for script, extra in SCRIPTS))
sys.exit(code)
