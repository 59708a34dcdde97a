"""Traces: the spans of real requests, as a collector gets them."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import umzero
from tests.collector import Collected, Collector
from tests.integration.conftest import Server
from tests.integration.test_lifecycle import KITE, POISON
from tests.integration.test_request_ids import lines
from tests.integration.worker_processes import connected

Picture = Callable[..., bytes]
Start = Callable[..., Server]

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
STEPS = {"queue", "decode", "inference", "score"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Servers that are started from now on export to it, and only at their end."""
    running = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    yield running
    running.shutdown()
    running.server_close()


def ended(server: Server) -> None:
    """Ends a server; what it has not exported by then is lost."""
    server.terminate()
    assert server.process.wait(60) == 0, server.log.read_text()


def split(spans: list[Collected]) -> tuple[Collected, list[Collected]]:
    """The request's span, and its steps: children of it, within its time."""
    (request,) = [span for span in spans if span.is_server]
    steps = [span for span in spans if not span.is_server]
    for step in steps:
        assert step.parent == request.span_id, step
        assert request.start <= step.start <= step.end <= request.end, step
    return request, steps


@pytest.mark.parametrize(
    ("padding", "order"),
    [
        (0, ["queue", "decode", "inference", "score"]),
        (2**20, ["decode", "queue", "inference", "score"]),  # it is decoded before it queues up
    ],
)
@pytest.mark.parametrize("query", ["", "?top_k=1"])
def test_an_image_is_one_trace_that_goes_on_from_the_caller_s(
    start: Start, picture: Picture, collector: Collector, padding: int, order: list[str], query: str
) -> None:
    server = start(traces="otlp")
    named = SAMPLED | {"X-Request-ID": "order-17"}
    image = picture("Robin") + bytes(padding)
    before = time.time_ns()
    answer = server.client.post(f"/classify{query}", content=image, headers=named)
    assert answer.status_code == 200
    ended(server)
    after = time.time_ns()  # not before: a span may end after its answer has arrived

    request, steps = split(collector.of(TRACE))
    assert (request.name, request.parent, request.state) == ("POST /classify", CALLER, "vendor=1")
    assert before <= request.start <= request.end <= after
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/classify",
        "http.response.status_code": 200,
        "url.path": "/classify",
        "url.scheme": "http",
        "umzero.request_id": "order-17",
    }
    assert request.process["service.name"] == "umzero"
    assert not request.is_error
    assert [step.name for step in steps] == order
    for earlier, later in pairwise(steps):
        assert earlier.end <= later.start
    (inference,) = [step for step in steps if step.name == "inference"]
    assert inference.attributes == {"umzero.batch_size": 1}


def test_times_in_an_answer_are_those_of_its_spans(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp", fake_delay_s="0.1")
    told = server.client.post("/classify", content=picture("Robin"), headers=SAMPLED).json()
    ended(server)

    _, steps = split(collector.of(TRACE))
    took = {step.name: (step.end - step.start) / 1e6 for step in steps}
    assert took["decode"] == pytest.approx(told["timings_ms"]["decode"], abs=0.002)
    assert 100 <= took["inference"] <= told["timings_ms"]["inference"]


def test_images_of_a_batch_say_how_many_they_were(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp", lanes="1", max_batch="3", fake_delay_s="0.2")
    files = [("image", (f"{n}.png", picture("Robin"))) for n in range(4)]
    assert server.client.post("/classify", files=files, headers=SAMPLED).status_code == 200
    ended(server)

    _, steps = split(collector.of(TRACE))
    assert Counter(step.name for step in steps) == dict.fromkeys(STEPS, 4)
    together = Counter((s.start, s.end) for s in steps if s.name == "inference")
    sizes = {(s.start, s.end): s.attributes["umzero.batch_size"] for s in steps if s.attributes}
    assert together == sizes
    assert max(together.values()) > 1


def test_a_registration_says_each_call_of_the_database_and_logs_the_trace(
    start: Start, collector: Collector
) -> None:
    server = start(traces="otlp", log_format="json")
    kite = {"name": "Kite", "attributes": KITE}
    named = SAMPLED | {"X-Request-ID": "order-18", "Idempotency-Key": "once"}
    assert server.client.post("/classes", json=kite, headers=named).status_code == 201
    ended(server)

    request, steps = split(collector.of(TRACE))
    assert (request.name, request.attributes["http.response.status_code"]) == ("POST /classes", 201)
    assert [(step.name, step.attributes["umzero.store.call"]) for step in steps] == [
        ("store", "recall"),
        ("store", "add"),
        ("store", "changes_since"),
    ]
    (line,) = [line for line in lines(server) if line["event"] == "classes registered"]
    ids = {key: line[key] for key in ("request_id", "trace_id", "span_id")}
    assert ids == {"request_id": "order-18", "trace_id": TRACE, "span_id": request.span_id}


def test_a_request_that_waits_for_another_replica_s_write_says_so(
    start: Start, picture: Picture, collector: Collector
) -> None:
    writer, reader = start(), start(traces="otlp", refresh_s="3600")
    kite = {"name": "Kite", "attributes": KITE}
    revision = writer.client.post("/classes", json=kite).json()["revision"]
    answer = reader.client.post(
        "/classify", content=picture(KITE), params={"min_revision": revision}, headers=SAMPLED
    )
    assert answer.json()["predictions"][0]["name"] == "Kite"
    ended(reader)

    _, steps = split(collector.of(TRACE))
    assert [step.name for step in steps] == ["store", "queue", "decode", "inference", "score"]
    assert steps[0].attributes == {"umzero.store.call": "refresh"}
    # It looks at the database by itself, too; that is nobody's request.
    assert {span.trace_id for span in collector.spans} == {TRACE}


def test_errors_of_the_service_are_errors_of_the_span_and_those_of_clients_are_not(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp")
    for path, content, status in (
        ("/classify", picture(POISON), 500),
        ("/classify", b"no image", 422),
        ("/nothing/here", b"", 404),
    ):
        assert server.client.post(path, content=content).status_code == status
    ended(server)

    spans = {span.attributes["http.response.status_code"]: span for span in collector.spans}
    assert {status: span.is_error for status, span in spans.items()} == {
        500: True,
        422: False,
        404: False,
    }
    assert spans[500].attributes["error.type"] == "500"
    # A path that is no route's is no name: anyone could make any number of them.
    assert (spans[404].name, "http.route" in spans[404].attributes) == ("POST", False)
    assert len({span.trace_id for span in collector.spans}) == 3
    assert {span.parent for span in collector.spans} == {""}


@pytest.mark.parametrize("given", ["00-zz-zz-01", f"00-{'0' * 32}-{CALLER}-01", "x" * 5000])
def test_a_traceparent_that_can_not_be_read_begins_a_trace_of_its_own(
    start: Start, collector: Collector, given: str
) -> None:
    server = start(traces="otlp")
    assert server.client.get("/livez", headers={"traceparent": given}).status_code == 200
    ended(server)

    (span,) = collector.spans
    assert (span.name, span.parent) == ("GET /livez", "")


def test_a_trace_that_is_not_sampled_has_no_spans_but_the_log_knows_it(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp", log_format="json")
    unsampled = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    assert server.client.post("/classify", content=picture("Jay"), headers=unsampled).is_success
    kite = {"name": "Kite", "attributes": KITE}
    assert server.client.post("/classes", json=kite, headers=unsampled).is_success
    ended(server)

    assert collector.spans == []
    (line,) = [line for line in lines(server) if line["event"] == "classes registered"]
    assert line["trace_id"] == TRACE


def test_opentelemetry_s_own_variables_count(
    start: Start, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "birds")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    server = start(traces="otlp")
    assert server.client.get("/livez").is_success
    assert server.client.get("/livez", headers=SAMPLED).is_success
    ended(server)

    (span,) = collector.spans
    assert span.trace_id == TRACE
    assert span.process["service.name"] == "birds"
    assert span.process["deployment.environment.name"] == "test"


def test_with_the_sdk_disabled_a_service_answers_without_spans(
    start: Start, collector: Collector, monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    server = start(traces="otlp")
    assert server.client.post("/classify", content=picture("Jay")).is_success
    ended(server)

    assert collector.spans == []


def test_the_console_gets_a_line_for_each_span(start: Start, picture: Picture) -> None:
    server = start(traces="console")
    assert server.client.post("/classify", content=picture("Jay"), headers=SAMPLED).is_success
    ended(server)

    assert server.process.stdout is not None
    spans = [json.loads(line) for line in server.process.stdout]
    assert {span["name"] for span in spans} == STEPS | {"POST /classify"}
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{TRACE}"}


def test_each_worker_exports_what_it_answered(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp", workers="2")
    clients = connected(server, 4)
    for client in clients:
        assert client.post("/classify", content=picture("Robin")).is_success
        client.close()
    ended(server)

    requests = [span for span in collector.spans if span.name == "POST /classify"]
    assert len(requests) == 4
    assert len({request.process["service.instance.id"] for request in requests}) == 2
    for request in requests:
        _, steps = split(collector.of(request.trace_id))
        assert {step.name for step in steps} == STEPS


def test_both_clients_pass_their_caller_s_trace_on(
    start: Start, picture: Picture, collector: Collector
) -> None:
    server = start(traces="otlp")
    image = picture("Robin")

    async def asynchronous() -> None:
        async with umzero.AsyncClient(server.url) as client:
            await client.classify_many([image, image])

    with umzero.Client(server.url) as client:
        client.classify(image)  # of no trace
        with TracerProvider().get_tracer("test").start_as_current_span("caller") as caller:
            client.classify(image)
            client.classify_many([image, image, image])
            asyncio.run(asynchronous())
    ended(server)

    called = caller.get_span_context()
    requests = [span for span in collector.spans if span.is_server]
    theirs = {trace.format_trace_id(called.trace_id), trace.format_span_id(called.span_id)}
    assert Counter(bool(span.parent) for span in requests) == {True: 6, False: 1}
    for span in requests:
        assert not span.parent or {span.trace_id, span.parent} == theirs


def test_a_collector_that_is_away_does_not_keep_answers_or_the_end(
    start: Start, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    server = start(traces="otlp")
    for _ in range(3):
        assert httpx.post(f"{server.url}/classify", content=picture("Jay")).is_success

    ended(server)
