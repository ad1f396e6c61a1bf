"""/metrics: what Prometheus is told of the service, and of what the factories make today."""

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strictly_parsed

from command_line import run_here
from harness import BASE_PATH, START_SECONDS, TLS, Client, HeldMerge, Program, Service, a_sprocket
from keyholders import WRONG_KEY, caller, make_key
from long_lists import stopped_reader, upload
from postgresql_server import PostgreSQLServer
from promql import Vector, labels_of, read_metrics
from sprocket_factory.endpoints import status
from sprocket_factory.entities.calendar import day_of, span_of_days, zone_of
from sprocket_factory.entities.instant import read_instant, to_datetime
from sprocket_factory.observe_histogram import Histogram
from sprocket_factory.observe_metrics import describe_metrics
from sprocket_factory.settings import Settings

NOON = read_instant("2024-03-31T12:30:00Z", 2**62)
"""On this day the clocks of London went forward, and in Kiritimati the next one has begun."""

BOUNDS = (0.00005, 0.001, 0.25, 1, 2.5, 1000)

OPEN_METRICS = "application/openmetrics-text"

pytestmark = pytest.mark.usefixtures("nothing_counted")


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be NOON, and let what was read a moment ago be read again."""
    monkeypatch.setattr(status, "now", lambda: NOON)
    monkeypatch.setattr(status, "PRODUCTION_KEPT_SECONDS", 0.0)


def metrics(address: str) -> Vector:
    """Return every sample."""
    return read_metrics(httpx.get(f"{address}/metrics", trust_env=False, verify=TLS).raise_for_status().text)


def value(samples: Vector, metric: str, **labels: str) -> float:
    """Return one sample; 0 where there is none, as of what was never counted."""
    return samples.get(labels_of({"__name__": metric, **labels}), 0.0)


def production(address: str) -> dict[str, tuple[float, float]]:
    """Return actual and goal of today, by factory."""
    samples = metrics(address)
    factories = {dict(labels)["factory_id"] for labels in samples if "factory_id" in dict(labels)}
    names = ("sprocket_production_actual_today", "sprocket_production_goal_today")
    return {
        one: (value(samples, names[0], factory_id=one), value(samples, names[1], factory_id=one))
        for one in sorted(factories)
        if labels_of({"__name__": names[0], "factory_id": one}) in samples
    }


def record(engineer: Client, factory_id: int, time: str, actual: int, goal: int) -> None:
    """Record what a factory made, or correct it."""
    body = {"sprocket_production_actual": actual, "sprocket_production_goal": goal}
    engineer.put(f"/production/{factory_id}/{time}", json=body).raise_for_status()


@pytest.mark.parametrize(("role", "expected"), [(None, 401), ("viewer", 200), ("admin", 200)])
def test_whoever_reads_may_read_the_metrics(database_url: str, role: str | None, expected: int) -> None:
    """They tell of production, and so they need a viewer's key as production does."""
    with Service(Settings(database_url=database_url), anonymous_role="none") as service:
        secret = None if role is None else make_key(service, role).secret  # type: ignore[arg-type]  # a role by its name
        with caller(service, secret) as client:
            assert expected == client.get(f"{service.address}/metrics").status_code


def test_the_format_is_what_prometheus_reads(viewer: Client) -> None:
    """OpenMetrics by its strict reader; each metric has a meaning, and a name by the rules."""
    viewer.get("/sprockets")
    answer = viewer.get(f"{viewer.address}/metrics", headers={"Accept": f"{OPEN_METRICS};version=1.0.0,*/*;q=0.1"})
    families = list(strictly_parsed(answer.text))  # type: ignore[no-untyped-call]

    assert answer.headers["Content-Type"].startswith(f"{OPEN_METRICS}; version=1.0.0")
    assert all(family.documentation for family in families)
    assert [] == [family.name for family in families if not re.fullmatch(r"(sprocket|process)(_[a-z]+)+", family.name)]
    assert [] == [one for one in families if one.type == "histogram" and not one.name.endswith(("_seconds", "_writes"))]


@pytest.mark.parametrize("accept", ["text/plain", "*/*", f"{OPEN_METRICS};q=0,text/plain"])
def test_plain_text_is_what_a_person_reads(viewer: Client, accept: str) -> None:
    """Who does not ask for OpenMetrics gets the older format."""
    answer = viewer.get(f"{viewer.address}/metrics", headers={"Accept": accept})

    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["Content-Type"]
    assert 1 == value(read_metrics(answer.text), "sprocket_ready")


def test_no_metric_is_undescribed(viewer: Client) -> None:
    """What is given out is what the list of metrics says."""
    names = {dict(labels)["__name__"] for labels in metrics(viewer.address)}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}

    assert set() == bare - {name for name, *_ in describe_metrics()}


def test_requests_are_counted_by_route_and_status(engineer: Client) -> None:
    """What is in a path or a method that nobody has heard of makes no series of its own."""
    name = "sprocket_http_request_duration_seconds_count"
    before = metrics(engineer.address)
    engineer.post("/sprockets", json=a_sprocket())
    engineer.get("/sprockets/1")
    engineer.get("/sprockets/999")
    engineer.get("/nothing/at/all")
    engineer.request("PURGE", "/sprockets/1")
    after = metrics(engineer.address)

    def counted(**labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    one = f"{BASE_PATH}/sprockets/{{sprocket_id}}"
    assert 1 == counted(method="POST", route=f"{BASE_PATH}/sprockets", status="201")
    assert 1 == counted(method="GET", route=one, status="200")
    assert 1 == counted(method="GET", route=one, status="404")
    assert 1 == counted(method="GET", route="unmatched", status="404")
    methods = {dict(labels).get("method") for labels in after}
    assert {None, "GET", "POST", "other"} >= methods - {"PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def test_what_is_in_flight_is_counted_until_it_ends(engineer: Client, held: HeldMerge) -> None:
    """A request that waits for its write, and the one that asks for the metrics."""
    engineer.post("/factories", json={"name": "Sheffield"}).raise_for_status()
    before = value(metrics(engineer.address), "sprocket_http_requests_in_flight")
    uploading = threading.Thread(target=upload, args=[engineer, 1, [1]])
    uploading.start()
    held.begun.wait(START_SECONDS)
    meanwhile = value(metrics(engineer.address), "sprocket_http_requests_in_flight")
    held.go_on.set()
    uploading.join()
    after = value(metrics(engineer.address), "sprocket_http_requests_in_flight")

    assert [1, 2, 1] == [before, meanwhile, after]


@given(st.lists(st.floats(0, 1000) | st.sampled_from(BOUNDS), max_size=50))
def test_a_histogram_counts_as_the_library_does(values: list[float]) -> None:
    """Whatever is observed, and on whichever bound it lies, Prometheus is told the same."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for registry, kind in ((ours, Histogram), (theirs, prometheus_client.Histogram)):
        series = kind("seconds", "How long.", ("what",), buckets=BOUNDS, registry=registry).labels("it")
        for one in values:
            series.observe(one)

    assert generate_latest(theirs) == generate_latest(ours)


def test_the_database_is_timed(engineer: Client) -> None:
    """Reads, lists, writes and bulks apart, and each stage of a bulk."""
    before = metrics(engineer.address)
    engineer.post("/factories", json={"name": "Sheffield"})
    engineer.get("/factories/1")
    engineer.get("/sprockets?limit=1")
    upload(engineer, 1, [1])
    after = metrics(engineer.address)

    def counted(name: str, **labels: str) -> float:
        return value(after, f"{name}_count", **labels) - value(before, f"{name}_count", **labels)

    operations = {one: counted("sprocket_database_duration_seconds", operation=one) for one in ("write", "bulk")}
    stages = ("read", "merge", "stage", "compare", "store")
    assert {"write": 1, "bulk": 1} == operations
    assert counted("sprocket_database_duration_seconds", operation="read") >= 1
    assert counted("sprocket_database_duration_seconds", operation="list") >= 1
    assert [1] * 5 == [counted("sprocket_bulk_stage_duration_seconds", stage=stage) for stage in stages]


def test_each_engine_tells_what_it_has(service: Service, engine: str) -> None:
    """SQLite its files and commits, PostgreSQL its connections."""
    with Client(service.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket())
    samples = metrics(service.address)
    names = {dict(labels)["__name__"] for labels in samples if samples[labels] > 0}

    files = {"sprocket_database_bytes", "sprocket_database_wal_bytes", "sprocket_database_disk_free_bytes"}
    commits = {"sprocket_database_commit_duration_seconds_count", "sprocket_database_group_commit_writes_count"}
    expected = {"sqlite": files | commits, "postgresql": {"sprocket_database_connections_open"}}[engine]
    assert expected <= names
    assert any(dict(labels).get("engine", "").lower().startswith(engine) for labels in samples)


def test_open_lists_are_counted(service: Service) -> None:
    """A whole list counts as long as its reader takes."""
    with Client(service.address) as engineer:
        engineer.post("/factories", json={"name": "Sheffield"})
        upload(engineer, 50_000, [1])
        before = value(metrics(service.address), "sprocket_database_streams_open")
        with stopped_reader(service.address, "/production"):
            meanwhile = value(metrics(service.address), "sprocket_database_streams_open")

    assert [0, 1] == [before, meanwhile]


def test_every_wrong_key_is_counted(database_url: str) -> None:
    """Those too that are refused because there were too many."""
    with Service(Settings(database_url=database_url)) as service:
        before = value(metrics(service.address), "sprocket_wrong_keys_total")
        with caller(service, WRONG_KEY) as stranger:
            statuses = {stranger.get("/me").status_code for _ in range(30)}
        after = value(metrics(service.address), "sprocket_wrong_keys_total")

    assert {401, 429} == statuses
    assert 30 == after - before


@pytest.mark.usefixtures("at_noon")
def test_production_is_that_of_each_factorys_own_day(engineer: Client) -> None:
    """From its midnight on, to the microsecond, whatever the date is elsewhere; what is absent is not zero."""
    zones = ("UTC", "Europe/London", "Pacific/Kiritimati", "Asia/Kathmandu", "America/Los_Angeles", "UTC")
    for number, zone in enumerate(zones):
        engineer.post("/factories", json={"name": f"Factory {number}", "time_zone": zone}).raise_for_status()
    for factory_id, zone in enumerate(zones[:-1], 1):
        today = day_of(zone_of(zone), NOON)
        since, until = span_of_days(zone_of(zone), today, today)
        for place, instant in enumerate((since - 1, since, NOON, until - 1, until)):
            record(engineer, factory_id, to_datetime(instant).isoformat(), 10**place, 2 * 10**place)

    assert {str(one): (1110, 2220) for one in range(1, 6)} == production(engineer.address)


@pytest.mark.usefixtures("at_noon")
def test_production_stays_right_when_records_are_corrected(engineer: Client) -> None:
    """Whatever becomes of a record, the sum is that of what is stored."""
    engineer.post("/factories", json={"name": "Sheffield"})
    for minute in range(3):
        record(engineer, 1, f"2024-03-31T08:0{minute}:00Z", 30, 31)
    sums = [production(engineer.address)]
    record(engineer, 1, "2024-03-31T08:01:00Z", 5, 31)
    sums.append(production(engineer.address))
    engineer.delete("/production/1/2024-03-31T08:00:00Z").raise_for_status()
    sums.append(production(engineer.address))
    engineer.delete("/production?factory_id=1&time__gte=2024-03-31T00:00:00Z&time__lt=2024-04-01T00:00:00Z")
    sums.append(production(engineer.address))

    assert [{"1": (90, 93)}, {"1": (65, 93)}, {"1": (35, 62)}, {}] == sums


@pytest.mark.usefixtures("at_noon")
def test_every_server_tells_the_same_of_production(postgresql: PostgreSQLServer) -> None:
    """What one has stored or corrected all others count, so it does not matter which of them is asked."""
    url = postgresql.new_database()
    with ExitStack() as stack:
        addresses = [stack.enter_context(Service(Settings(database_url=url))).address for _ in range(2)]
        first, second = (stack.enter_context(Client(address)) for address in addresses)
        first.post("/factories", json={"name": "Sheffield"})
        record(first, 1, "2024-03-31T08:00:00Z", 30, 31)
        record(second, 1, "2024-03-31T08:01:00Z", 30, 31)
        record(second, 1, "2024-03-31T08:00:00Z", 10, 31)
        told = [production(address) for address in addresses]

    assert [{"1": (40, 62)}] * 2 == told


@pytest.mark.usefixtures("at_noon")
def test_the_last_record_is_told_whenever_it_was(engineer: Client) -> None:
    """In seconds since 1970, so that its age is right whenever it is looked at; with the name of the factory beside."""
    engineer.post("/factories", json={"name": 'She"ff\\ield', "time_zone": "Europe/London"})
    engineer.post("/factories", json={"name": "New"})
    record(engineer, 1, "2021-01-21T02:06:58.25Z", 1, 1)
    samples = metrics(engineer.address)
    last = {labels: one for labels, one in samples.items() if "last_record" in dict(labels)["__name__"]}

    assert [1611194818.25] == list(last.values())
    assert 1 == value(samples, "sprocket_factory_info", factory_id="1", name='She"ff\\ield', time_zone="Europe/London")


@pytest.mark.usefixtures("at_noon")
def test_production_that_cannot_be_read_in_time_is_absent(engineer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old figure would look like a new one; everything else is told all the same."""
    engineer.post("/factories", json={"name": "Sheffield"})
    record(engineer, 1, "2024-03-31T08:00:00Z", 30, 31)
    monkeypatch.setattr(status, "PRODUCTION_SECONDS", 0.0)
    samples = metrics(engineer.address)

    assert 0 == value(samples, "sprocket_production_readable")
    assert [] == [labels for labels in samples if "factory_id" in dict(labels)]
    assert 1 == value(samples, "sprocket_ready")


def start_time(prometheus: httpx.Client, address: str) -> float | None:
    """Return when who tells of himself there was started; None where nobody is just now."""
    try:
        return value(read_metrics(prometheus.get(f"{address}/metrics").text), "process_start_time_seconds")
    except httpx.TransportError:
        return None


def free_ports(count: int) -> int:
    """Return the first of so many ports on which nobody listens just now."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return int(first)


def test_each_worker_has_a_port_for_its_metrics(start: Callable[..., Program], postgresql: PostgreSQLServer) -> None:
    """Whoever reaches it needs no key; each tells of itself, as does who replaces it, and there is nothing else."""
    first = free_ports(2)
    url = postgresql.new_database()
    arguments = ("--port", "0", "--workers", "2", "--database-url", url, "--metrics-port", str(first))
    program = start("serve", *arguments, "--anonymous-role", "none")
    program.wait_for_address()
    addresses = [f"http://127.0.0.1:{port}" for port in (first, first + 1)]
    with httpx.Client(trust_env=False, verify=TLS, timeout=START_SECONDS) as prometheus:
        started = [value(metrics(address), "process_start_time_seconds") for address in addresses]
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while (again := [start_time(prometheus, address) for address in addresses]).count(None) or again == started:
            assert time.monotonic() < deadline
        other = [prometheus.get(f"{address}{path}") for address in addresses for path in ("/", f"{BASE_PATH}/keys")]
        other.append(prometheus.post(f"{addresses[0]}/metrics"))
    exit_code = program.stop()

    assert 1 == sum(one != other for one, other in zip(started, again, strict=True))
    assert [404] * 5 == [answer.status_code for answer in other]
    assert 0 == exit_code


def test_metrics_are_given_out_until_the_end(start: Callable[..., Program]) -> None:
    """While the service drains one sees that it does."""
    port = free_ports(1)
    program = start("serve", "--port", "0", "--metrics-port", str(port), "--drain-seconds", "2")
    program.wait_for_address()
    before = value(metrics(f"http://127.0.0.1:{port}"), "sprocket_ready")
    program.process.terminate()
    while (ready := value(metrics(f"http://127.0.0.1:{port}"), "sprocket_ready")) == 1:
        pass

    assert [1, 0] == [before, ready]
    assert 0 == program.wait()


@pytest.mark.parametrize("above", [False, True])
def test_a_port_that_cannot_be_had_is_refused(tmp_path: Path, *, above: bool) -> None:
    """The program does not start without the metrics that were asked for, and names the flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = 65535 if above else taken.getsockname()[1]
        workers = ("--workers", "2", "--database-url", "postgresql://nobody@127.0.0.1:1/none") if above else ()
        done = run_here("serve", "--port", "0", "--metrics-port", str(port), *workers, folder=tmp_path)

    assert 1 == done.returncode
    assert "--metrics-port" in done.stderr
