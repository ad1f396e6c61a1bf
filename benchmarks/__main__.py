"""Run all the measurements in order: `python -m benchmarks`. Exits with 1 if any target is missed."""

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
    starting,
    whole_list,
)
from benchmarks.postgresql import MISSING, has_programs
from benchmarks.report import build_parser, console

parser = build_parser("Measure the product against its targets.")
folder = str(parser.parse_args().folder)
scripts = [starting, one_sprocket, observation, authentication, hostile, durable_posts, whole_list, bulk, attainment]
if has_programs():
    scripts += [one_sprocket_postgresql, bulk_postgresql, long_history_postgresql]
code = max([script.main(["--folder", folder]) for script in scripts])
if not has_programs():
    console.print(f"[yellow]left out[/]: what is measured on PostgreSQL. {MISSING}")
sys.exit(code)
