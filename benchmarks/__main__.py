"""Run the measurements in order: `python -m benchmarks`. Exits with 1 if any target is missed."""

import sys

from benchmarks import (
    attainment,
    authentication,
    bulk,
    bulk_postgresql,
    durable_posts,
    hostile,
    long_history_postgresql,
    observation,
    one_sprocket,
    one_sprocket_postgresql,
    side_by_side,
    starting,
    whole_list,
)
from benchmarks.report import build_parser

parser = build_parser("Measure the service against its targets, and beside what one would otherwise have.")
side_by_side.add_options(parser)
options = parser.parse_args()
code = side_by_side.main(sys.argv[1:])
if not options.quick:
    scripts = [
        starting,
        one_sprocket,
        observation,
        authentication,
        hostile,
        durable_posts,
        whole_list,
        bulk,
        attainment,
    ]
    scripts += [one_sprocket_postgresql, bulk_postgresql, long_history_postgresql]
    code = max(code, *(script.main(["--folder", str(options.folder)]) for script in scripts))
sys.exit(code)
