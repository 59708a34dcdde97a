"""Traces as OpenTelemetry's spans. Its own variables, `OTEL_*`, say where they go, and how many."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace import Span, SpanKind, StatusCode

from service.tracing import Attributes, Interval, Trace, Tracer

# For what is not exported at the end. A collector that is away must not hold the process up.
_FLUSH_S = 3.0


class SpanTracer(Tracer):
    """Begins traces that have spans, unless the sampler leaves them out.

    Its provider is its own: were it the process's, FastAPI would make the same spans again.

    Args:
        exporter: `otlp`, or `console`: a line of JSON for each span, on stdout.
        version: of the service.
    """

    def __init__(self, exporter: str, version: str) -> None:
        told = {"service.name": "umzero", "service.version": version}
        # The variables win.
        resource = Resource.create(told).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if exporter == "console":
            to_stdout = ConsoleSpanExporter(formatter=_line)
            self._provider.add_span_processor(SimpleSpanProcessor(to_stdout))
        else:
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("umzero", version)

    def begin(self, request_id: str, scope: Mapping[str, Any]) -> Trace:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        method = scope["method"]
        span = self._tracer.start_span(
            method,
            propagate.extract(headers),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "url.path": scope["path"],
                "url.scheme": scope.get("scheme", "http"),
                "umzero.request_id": request_id,
            },
        )
        context = span.get_span_context()
        ids = {"request_id": request_id}
        if context.is_valid:
            ids["trace_id"] = trace.format_trace_id(context.trace_id)
            ids["span_id"] = trace.format_span_id(context.span_id)
        return _Spans(ids, self._tracer, span) if span.is_recording() else Trace(ids)

    def close(self) -> None:
        # A thread that is given up: a collector may accept, and never answer.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_FLUSH_S)


class _Spans(Trace):
    """All of them are children of the request's; most are made once they are over."""

    def __init__(self, ids: Mapping[str, str], tracer: trace.Tracer, request: Span) -> None:
        super().__init__(ids)
        self._tracer = tracer
        self._request = request
        self._context = trace.set_span_in_context(request)
        # When the clock was 0 that intervals are read from.
        self._zero_ns = time.time_ns() - time.perf_counter_ns()

    @contextmanager
    def span(self, name: str, attributes: Attributes | None = None) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (started, time.perf_counter()), attributes)

    def add(self, name: str, interval: Interval, attributes: Attributes | None = None) -> None:
        start, end = map(self._ns, interval)
        step = self._tracer.start_span(name, self._context, attributes=attributes, start_time=start)
        step.end(end)

    def end(self, method: str, route: str | None, status: int) -> None:
        if route is not None:
            self._request.update_name(f"{method} {route}")
            self._request.set_attribute("http.route", route)
        if status:
            self._request.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._request.set_attribute("error.type", str(status))
            self._request.set_status(StatusCode.ERROR)
        self._request.end(self._ns(time.perf_counter()))

    def _ns(self, seconds: float) -> int:
        return self._zero_ns + int(seconds * 1e9)


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
