"""What the scripts about production share: a CSV file of records, the callers beside, and how those fared."""

import csv
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.table import Table

from benchmarks.load import Load, find_rate
from benchmarks.report import console

PRODUCTION_PATH = "/sprocketFactory/v1/production"
FACTORIES = 10
BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
COLUMNS = ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal")
# Connections that GET single sprockets meanwhile; how long they warm up, and are measured alone, in seconds.
OTHERS = 8
WARM_UP = 1.0
IDLE = 3.0
# Seconds after which a request that a script waits for is given up.
TIMEOUT = 600.0


def write_records(
    file: Path, factory_ids: Sequence[int], minutes: int, advance: Callable[[], None], begin: datetime = BEGIN
) -> None:
    """Write a CSV file of one record a minute for each factory; `advance` is called after each factory."""
    times = [(begin + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ") for minute in range(minutes)]
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(COLUMNS)
        for factory_id in factory_ids:
            writer.writerows((factory_id, at, 29 + minute % 4, 32) for minute, at in enumerate(times))
            advance()


def print_others(loads: Mapping[str, Load]) -> None:
    """Print how the others fared at each time that has a name here."""
    table = Table(f"{OTHERS} others", "requests/s", "p50 ms", "p99 ms", "p99.9 ms")
    for name, load in loads.items():
        latencies = (f"{latency * 1e3:.2f}" for latency in (load.p50, load.p99, load.p999))
        table.add_row(name, f"{find_rate(load):,.0f}", *latencies)
    console.print(table)
