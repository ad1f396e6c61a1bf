"""Traces, by OpenTelemetry, which is an extra: it is imported when traces are asked for, and costs nothing before.

A request is a span, and so is each thing that is asked of the database for it, and each stage of a bulk. A caller's
`traceparent` is gone on with. Where they go, and how many are kept, is set as OpenTelemetry has it: `OTEL_*`.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sprocket_factory import __version__
from sprocket_factory.errors import Unusable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

END_SECONDS = 2.0
"""How long the last spans may take to be sent when the service ends."""

SERVER_FAULT = 500


class Tracing:
    """What makes spans, once traces are asked for."""

    def __init__(self, exporter: "SpanExporter | None") -> None:
        from opentelemetry import context, trace  # noqa: PLC0415 - nobody else pays for them
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

            exporter = OTLPSpanExporter()
        name = os.environ.get("OTEL_SERVICE_NAME", "sprocket-factory")
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name, "service.version": __version__}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sprocket_factory", __version__)
        self._context, self._trace = context, trace
        self._propagator = TraceContextTextMapPropagator()

    def begin_request(self, scope: Mapping[str, Any], state: dict[str, Any]) -> Any:
        """Begin the span of a request, which everything in its task belongs to."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in CARRIERS}
        parent = self._propagator.extract(carrier)
        span = self._tracer.start_span(scope["method"], context=parent, kind=self._trace.SpanKind.SERVER)
        self._context.attach(self._trace.set_span_in_context(span, parent))
        state["trace_id"] = f"{span.get_span_context().trace_id:032x}"
        return span

    def end_request(self, span: Any, method: str, route: str, status: int, request_id: str) -> None:
        """End it: its name is the method and the route."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "sprocket_factory.request_id": request_id,
            }
        )
        if status >= SERVER_FAULT:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def note(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Make a span of what has just ended."""
        ended = time.time_ns()
        kind = self._trace.SpanKind.CLIENT
        span = self._tracer.start_span(
            name, kind=kind, start_time=ended - int(seconds * 1_000_000_000), attributes=attributes
        )
        span.end(ended)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Make a span of the block."""
        with self._tracer.start_as_current_span(name):
            yield

    def end(self) -> None:
        """Send what is left, within END_SECONDS."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(END_SECONDS)


CARRIERS = frozenset({b"traceparent", b"tracestate"})


class Traces:
    """Whether there are traces, and what makes them."""

    tracing: Tracing | None = None

    @contextmanager
    def on(self, exporter: "SpanExporter | None" = None) -> Iterator[None]:
        """Make traces in the block, and send them by OTLP, or to this exporter. Raises Unusable without the extra."""
        check_installed()
        tracing = self.tracing = Tracing(exporter)
        try:
            yield
        finally:
            self.tracing = None
            tracing.end()


traces = Traces()


def check_installed() -> None:
    """Raise Unusable unless the extra is installed."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415
        import opentelemetry.sdk.trace.export  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unusable(f"--traces needs OpenTelemetry: {error}.", hint="Install sprocket-factory[traces].") from error
