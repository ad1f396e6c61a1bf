"""Run all the measurements in order: `python -m benchmarks`. Exits with 1 if any target is missed."""

import sys

from benchmarks import bulk, durable_posts, one_sprocket, whole_list
from benchmarks.report import build_parser

parser = build_parser("Measure the product against its targets.")
folder = str(parser.parse_args().folder)
sys.exit(max([script.main(["--folder", folder]) for script in (one_sprocket, durable_posts, whole_list, bulk)]))
