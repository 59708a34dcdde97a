"""Metrics and log lines."""

import asyncio
import contextlib
import json
import logging
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from service.engine.generations import Generations
from service.engine.plan import Plan
from service.http.middleware import Observed
from service.logs import JsonFormatter, TextFormatter
from service.metrics import Metrics
from service.readings import Reading
from service.tracing import Tracer


def samples(metrics: Metrics) -> dict[str, float]:
    text = metrics.exposition().decode()
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_happened_is_counted() -> None:
    metrics = Metrics()
    metrics.watch(lambda: Reading(True, 3, 64, Plan(2, 4, 16), 79, 5, 12))
    metrics.batch_ended([0.1, 0.2, 0.3], 0.05, 1)
    metrics.batch_embedded(2, 0.04)  # the third could not be decoded
    metrics.request_ended("/classify", "POST", 200, 0.5)
    metrics.request_rejected("overloaded")
    metrics.request_cancelled()

    found = samples(metrics)

    assert found["umzero_images_total"] == 2
    assert found["umzero_lanes"] == 2
    assert found["umzero_threads"] == 4
    assert found["umzero_max_batch"] == 16
    assert found["umzero_batch_size_sum"] == 2
    assert found["umzero_inference_duration_seconds_sum"] == 0.04
    assert found["umzero_queue_duration_seconds_count"] == 3
    assert found["umzero_requests_rejected_total[overloaded]"] == 1
    assert found["umzero_requests_cancelled_total"] == 1
    assert found["umzero_classes[bundle]"] == 79
    assert found["umzero_classes[registered]"] == 5
    assert found["umzero_registry_revision"] == 12
    assert found["umzero_ready"] == 1


def test_two_services_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.request_cancelled()

    assert samples(first)["umzero_requests_cancelled_total"] == 1
    assert samples(second)["umzero_requests_cancelled_total"] == 0


async def cancelled(metrics: Metrics, is_draining: bool) -> list[Message]:
    """What is sent for a request that its server cancels."""
    sent = []

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    async def send(message: Message) -> None:
        sent.append(message)

    generations = Generations(cast(Any, SimpleNamespace()))
    observed = Observed(never, metrics, generations, Tracer(), lambda: is_draining)
    scope = {"type": "http", "method": "POST", "path": "/classify", "headers": []}
    request = asyncio.create_task(observed(scope, never, send))
    await asyncio.sleep(0)
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request
    assert request.cancelled() == (not sent)
    return sent


def test_a_request_that_its_server_cancels_is_one_whose_client_left() -> None:
    metrics = Metrics()

    assert asyncio.run(cancelled(metrics, is_draining=False)) == []

    found = samples(metrics)
    assert found["umzero_requests_cancelled_total"] == 1
    assert found["umzero_request_duration_seconds_count[POST][unmatched][499]"] == 1


def test_a_request_that_its_server_cancels_at_the_end_is_one_that_was_refused() -> None:
    metrics = Metrics()

    start, body = asyncio.run(cancelled(metrics, is_draining=True))

    assert (start["status"], json.loads(body["body"])["code"]) == (503, "not_ready")
    found = samples(metrics)
    assert found["umzero_requests_cancelled_total"] == 0
    assert found["umzero_requests_rejected_total[not_ready]"] == 1
    assert found["umzero_request_duration_seconds_count[POST][unmatched][503]"] == 1


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "x"})
    vars(made).update(fields)
    return made


def test_a_line_is_an_event_and_its_fields() -> None:
    made = record("class registered", class_id="kite", revision=3)

    text = TextFormatter().format(made)
    parsed = json.loads(JsonFormatter().format(made))

    assert text.endswith("info class registered class_id=kite revision=3")
    assert (parsed["event"], parsed["class_id"], parsed["revision"]) == (
        "class registered",
        "kite",
        3,
    )


def test_what_a_client_sent_can_not_write_a_line_of_its_own() -> None:
    made = record("refused", name="x\n2026 error forged")

    assert "\n" not in TextFormatter().format(made)
    assert "\n" not in JsonFormatter().format(made)
