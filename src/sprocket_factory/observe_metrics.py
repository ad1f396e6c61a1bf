"""Metrics: each is declared here, with what it counts, for /metrics and for docs/observability.md.

What is counted as it happens is a counter or a histogram of this process. What is read when somebody asks is a Measure:
of the database, or of what is stored in it, which is the same whichever server is asked.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from sprocket_factory import __version__
from sprocket_factory.observe_histogram import Histogram, Series

UNMATCHED = "unmatched"
"""The route of a request for which there is none."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began says process_start_time_seconds, and each would be told twice

counted = CollectorRegistry()


class Tally:
    """How many there are just now. A Gauge of the library's would take a lock each time."""

    count = 0


in_flight = Tally()
"""Requests that are being answered, those of event clients among them."""

event_clients = Tally()

request_seconds = Histogram(
    "sprocket_http_request_duration_seconds",
    "From the head of a request to the end of its answer.",
    ("method", "route", "status"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=counted,
)
Gauge("sprocket_http_requests_in_flight", "Requests that are being answered.", registry=counted).set_function(
    lambda: in_flight.count - event_clients.count
)
Gauge("sprocket_event_clients", "Clients that follow /events.", registry=counted).set_function(
    lambda: event_clients.count
)
problems = Counter(
    "sprocket_http_problems", "Answers that were refusals, by the slug of /problems/....", ("slug",), registry=counted
)
wrong_keys = Counter("sprocket_wrong_keys", "Requests with credentials that are none.", registry=counted)
sign_ins = Counter(
    "sprocket_sign_ins",
    "Sessions that have begun, by what: a key, the issuer, or the link of a screen.",
    ("by",),
    registry=counted,
)
for _by in ("key", "issuer", "link"):
    sign_ins.labels(_by)  # a counter that begins with its first could not be seen to grow by it
database_seconds = Histogram(
    "sprocket_database_duration_seconds",
    "What was asked of the database: read (one statement), list (a page, or a chunk of a whole list), write (a"
    " transaction, with its wait for its turn and for the disk), bulk (one that has its transaction alone).",
    ("operation",),
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=counted,
)
commit_seconds = Histogram(
    "sprocket_database_commit_duration_seconds",
    "COMMIT, which ends when what was written is on the disk. SQLite only.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    registry=counted,
).labels()
group_writes = Histogram(
    "sprocket_database_group_commit_writes",
    "Writes that shared one COMMIT. SQLite only.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
    registry=counted,
).labels()
stage_seconds = Histogram(
    "sprocket_bulk_stage_duration_seconds",
    "Stages of storing many records at once: read (the body, as it arrives), merge (into the database), and in that:"
    " stage (the rows), compare (with what is stored), store.",
    ("stage",),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=counted,
)
lost_lines = Counter("sprocket_log_lines_lost", "Log lines that nobody took in time.", registry=counted)

ProcessCollector(registry=counted)


class Measure(NamedTuple):
    """What is read when somebody asks."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


MEASURES = (
    Measure("sprocket_build_info", "Always 1: which program this is.", ("version", "python", "engine")),
    Measure("sprocket_ready", "1 if /health/ready says so, else 0."),
    Measure("sprocket_database_writes_waiting", "Writes that wait for their turn (SQLite), or for the database."),
    Measure("sprocket_database_streams_open", "Whole lists that are being read."),
    Measure("sprocket_database_bytes", "Size of the database's file. SQLite only."),
    Measure("sprocket_database_wal_bytes", "Size of its write-ahead log. SQLite only."),
    Measure("sprocket_database_disk_free_bytes", "Room that is left on its disk. SQLite only."),
    Measure("sprocket_database_connections_open", "Connections to the server. PostgreSQL only."),
    Measure("sprocket_database_connections_idle", "Those of them that nobody uses. PostgreSQL only."),
    Measure("sprocket_database_connections_waiting", "Requests that wait for a connection. PostgreSQL only."),
    Measure("sprocket_backup_period_seconds", "How often backups are to be made. Absent where none are."),
    Measure(
        "sprocket_backup_last_success_timestamp_seconds",
        "When the newest verified backup was made, in seconds since 1970; 0 for never.",
    ),
    Measure("sprocket_factory_info", "Always 1: name and time zone of a factory.", ("factory_id", "name", "time_zone")),
    Measure(
        "sprocket_production_actual_today",
        "Sprockets made since midnight in the factory's own time zone. Absent where today has no record.",
        ("factory_id",),
    ),
    Measure("sprocket_production_goal_today", "Sprockets it set out to make since then.", ("factory_id",)),
    Measure(
        "sprocket_production_last_record_timestamp_seconds",
        "The time of its last record, in seconds since 1970. Absent where it has none.",
        ("factory_id",),
    ),
    Measure("sprocket_production_readable", "1 if today's production could be read in time, else 0 and it is absent."),
)

Value = tuple[Sequence[str], float]
"""The values of a measure's labels, and its own."""

Values = Mapping[str, Iterable[Value]]
"""By the name of the measure."""


class Backups:
    """How often backups are to be made, in seconds, and when the last was; 0 for not at all, and for never."""

    period = 0
    last = 0.0


backups = Backups()

_series: dict[tuple[str, str, int], Series] = {}


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one request."""
    key = (method, route, status)
    series = _series.get(key)
    if series is None:
        series = _series[key] = request_seconds.labels(method if method in METHODS else "other", route, str(status))
    series.observe(seconds)


def build_info(engine: str) -> Value:
    """Return what `sprocket_build_info` says."""
    return (__version__, platform.python_version(), engine), 1


PLAIN, OPEN_METRICS = "text/plain", "application/openmetrics-text"

FORMATS = (PLAIN, OPEN_METRICS)


def expose(format_: str, values: Values) -> tuple[str, bytes]:
    """Return the whole media type and the text of everything, in one of the FORMATS."""
    if backups.period:
        values = {
            **values,
            "sprocket_backup_period_seconds": [((), backups.period)],
            "sprocket_backup_last_success_timestamp_seconds": [((), backups.last)],
        }
    everything = _Everything(values)
    if format_ == OPEN_METRICS:
        return openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest(everything)  # type: ignore[no-untyped-call]
    return exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest(everything)


class _Everything(CollectorRegistry):
    """What was counted, and what was measured just now."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self._values = values

    def collect(self) -> Iterator[Metric]:
        yield from counted.collect()
        for measure in MEASURES:
            family = GaugeMetricFamily(measure.name, measure.help, labels=measure.labels)
            for labels, value in self._values.get(measure.name, ()):
                family.add_metric(labels, value)
            if family.samples:
                yield family


def describe_metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Give name, kind, labels and meaning of each metric."""
    for family in counted.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, family.type, _labels_of(family.name), family.documentation
    for measure in MEASURES:
        yield measure.name, "gauge", measure.labels, measure.help


def _labels_of(name: str) -> tuple[str, ...]:
    declared = counted._names_to_collectors.get(name)  # noqa: SLF001 - the registry tells names, but not labels
    return declared.label_names if isinstance(declared, Histogram) else tuple(getattr(declared, "_labelnames", ()))


MARKERS = ("<!-- metrics: made by bin/docs from observe_metrics.py -->\n", "<!-- end of metrics -->")


def with_metrics(document: str) -> str:
    """Return docs/observability.md with the list of all metrics between its MARKERS."""
    before, _, rest = document.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"
        for name, kind, labels, meaning in describe_metrics()
        if not name.startswith("process_")
    ]
    table = "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, PROCESS])
    return f"{before}{MARKERS[0]}{table}\n{MARKERS[1]}{after}"


PROCESS = (
    "| `process_...` | | | Processor, memory, open files and start of the process, as for every client of Prometheus. |"
)
