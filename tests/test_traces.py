"""Traces, where they are asked for: what becomes a span, under whose, and what they cost where they are not."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from harness import BASE_PATH, TLS, Client, Program, a_sprocket, run_program
from log_lines import Logged
from long_lists import upload
from sprocket_factory.observe_traces import traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Spans:
    """What was traced in a block, once that has ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def named(self, name: str) -> ReadableSpan:
        """Return the one span of this name."""
        (span,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return span

    def below(self, parent: ReadableSpan) -> list[str]:
        """Return the names of the spans of which this is the parent, in their order."""
        spans = self.exporter.get_finished_spans()
        return [span.name for span in spans if span.parent and parent.context and span.parent == parent.context]


@contextmanager
def traced() -> Iterator[Spans]:
    """Trace what happens in the block."""
    spans = Spans()
    with traces.on(spans.exporter):
        yield spans


def test_a_request_is_a_span_and_so_is_each_statement(engineer: Client) -> None:
    """Named by its route and by the functions that asked the database; beneath each other as they were called."""
    engineer.post("/sprockets", json=a_sprocket())
    with traced() as spans:
        answer = engineer.get("/sprockets/1", headers={"X-Request-ID": "find-me"})
    request = spans.named(f"GET {BASE_PATH}/sprockets/{{sprocket_id}}")

    assert 200 == answer.status_code
    assert SpanKind.SERVER == request.kind
    assert {
        "http.request.method": "GET",
        "http.route": f"{BASE_PATH}/sprockets/{{sprocket_id}}",
        "http.response.status_code": 200,
        "sprocket_factory.request_id": "find-me",
    } == dict(request.attributes or {})
    assert ["find_sprocket"] == spans.below(request)
    statement = spans.named("find_sprocket")
    assert SpanKind.CLIENT == statement.kind
    assert (request.start_time or 0) <= (statement.start_time or 0) <= (statement.end_time or 0)
    assert (statement.end_time or 0) <= (request.end_time or 0)


def test_a_trace_that_a_caller_has_begun_is_gone_on_with(engineer: Client, logged: Logged) -> None:
    """`traceparent` says under which span; the lines of the log carry the id of the trace."""
    with traced() as spans:
        engineer.get("/sprockets", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    request = spans.named(f"GET {BASE_PATH}/sprockets")

    assert request.context is not None
    assert request.parent is not None
    assert (TRACE, PARENT) == (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}")
    assert TRACE == logged.wait_for("request")["trace_id"]


@pytest.mark.parametrize("traceparent", ["nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}", "\x80"])
def test_a_trace_that_is_none_begins_anew(engineer: Client, traceparent: str) -> None:
    """What a caller sends cannot break a request."""
    with traced() as spans:
        answer = engineer.get("/sprockets", headers=[(b"traceparent", traceparent.encode("latin-1"))])

    assert 200 == answer.status_code
    assert spans.named(f"GET {BASE_PATH}/sprockets").parent is None


def test_the_stages_of_a_bulk_are_spans(engineer: Client) -> None:
    """Reading it and merging it; and within that, wherever it runs, what the merge does."""
    engineer.post("/factories", json={"name": "Sheffield"})
    with traced() as spans:
        upload(engineer, 10, [1])
    request = spans.named(f"POST {BASE_PATH}/production")

    assert {"bulk read", "bulk merge"} <= set(spans.below(request))
    assert ["bulk stage", "bulk compare", "bulk store", "merge_production"] == spans.below(spans.named("bulk merge"))


def test_a_failure_is_an_error_in_its_trace(engineer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for what went wrong finds it by the status of the span."""

    async def break_down(*_anything: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.find_sprocket", break_down)
    with traced() as spans:
        engineer.get("/sprockets/1")

    assert StatusCode.ERROR == spans.named(f"GET {BASE_PATH}/sprockets/{{sprocket_id}}").status.status_code


def test_nobody_pays_for_traces_that_are_off(tmp_path: Path) -> None:
    """Nothing of OpenTelemetry is imported."""
    script = "import sys, sprocket_factory.commands; print([name for name in sys.modules if 'telemetry' in name])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_traces_without_the_extra_are_refused(tmp_path: Path) -> None:
    """The program does not start as if it traced, and says what to install."""
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('there is none')\n")
    done = run_program("serve", "--port", "0", "--traces", folder=tmp_path, PYTHONPATH=str(tmp_path))

    assert 1 == done.returncode
    assert "Install sprocket-factory[traces]." in done.stderr
    assert "Traceback" not in done.stderr


class Collector(BaseHTTPRequestHandler):
    """Takes spans as OpenTelemetry sends them."""

    names: list[str]

    def do_POST(self) -> None:
        """Take some."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            self.names.extend(span.name for scope in resource.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_anything: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    """Run a collector."""
    Collector.names = []
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("is_there", [True, False], ids=["collector", "no collector"])
def test_spans_are_sent_where_opentelemetry_is_told(
    collector: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """The last of them when the service ends, which it does in time even where nobody takes them."""
    port = collector.server_address[1] if is_there else 1
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    program = Program("serve", "--port", "0", "--traces", folder=tmp_path)
    try:
        address = program.wait_for_address()
        httpx.get(f"{address}/health/live", trust_env=False, verify=TLS)
        exit_code = program.stop()
    finally:
        program.kill()

    assert 0 == exit_code, program.output
    assert is_there == ("GET /health/live" in Collector.names)
