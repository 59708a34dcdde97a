"""A collector of traces: takes what is exported over OTLP, and keeps it."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Collected:
    """A span, as it was exported; times in nanoseconds since 1970."""

    name: str
    trace_id: str
    span_id: str
    parent: str  # empty: it has none
    state: str  # W3C's tracestate
    start: int
    end: int
    is_server: bool
    is_error: bool
    attributes: dict[str, Any]
    process: dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Answers everything with success."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collecting)
        self.spans: list[Collected] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, trace_id: str) -> list[Collected]:
        """The spans of one trace, in the order in which they began."""
        spans = [span for span in self.spans if span.trace_id == trace_id]
        return sorted(spans, key=lambda span: span.start)


class _Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        for exported in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = _named(exported.resource.attributes)
            for scope in exported.scope_spans:
                self.server.spans += [_collected(span, process) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _collected(span: Span, process: dict[str, Any]) -> Collected:
    return Collected(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        is_server=span.kind == Span.SPAN_KIND_SERVER,
        is_error=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_named(span.attributes),
        process=process,
    )


def _named(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
