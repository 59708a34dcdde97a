"""What Prometheus sees. Labels never hold a class, an id or a path that a client chose."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from service.engine.plan import Plan

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Reading:
    """What the gauges show, read when Prometheus asks."""

    ready: bool
    queue_depth: int
    queue_capacity: int
    plan: Plan
    own_classes: int
    registered_classes: int
    revision: int


class Metrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody reads
        self._registry = CollectorRegistry()

        def seconds(name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
            return Histogram(name, text, labels, buckets=_SECONDS, registry=self._registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(name, text, labels, registry=self._registry)

        self._requests = seconds(
            "umzero_request_duration_seconds",
            "From a request's headers to its answer.",
            ("route", "method", "status"),
        )
        self._queued = seconds("umzero_queue_duration_seconds", "An image's wait for a lane.")
        self._decoded = seconds("umzero_decode_duration_seconds", "Decoding one image.")
        self._inferred = seconds("umzero_inference_duration_seconds", "The backend on one batch.")
        self._batches = Histogram(
            "umzero_batch_size", "Images in a batch.", buckets=_SIZES, registry=self._registry
        )
        self._images = counter("umzero_images_total", "Images that the backend was given.")
        self._rejected = counter(
            "umzero_requests_rejected_total", "Requests refused unread or given up.", ("reason",)
        )
        self._cancelled = counter(
            "umzero_requests_cancelled_total", "Requests whose client left before the answer."
        )

    def describe(self, version: str, bundle: str, backend: str, precision: str) -> None:
        """Set what is constant for the life of the process."""
        info = Gauge(
            "umzero_build_info",
            "Always 1; the labels say what runs.",
            ("version", "bundle", "backend", "precision"),
            registry=self._registry,
        )
        info.labels(version, bundle, backend, precision).set(1)

    def watch(self, read: Callable[[], Reading]) -> None:
        """Fill the gauges from `read` at every exposition."""
        self._registry.register(_Gauges(read))

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).observe(seconds)

    def image_decoded(self, seconds: float) -> None:
        self._decoded.observe(seconds)

    def request_rejected(self, reason: str) -> None:
        self._rejected.labels(reason).inc()

    def request_cancelled(self) -> None:
        self._cancelled.inc()

    def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:  # noqa: ARG002
        """`service.engine.batcher.Observer`."""
        for seconds in waited_s:
            self._queued.observe(seconds)

    def batch_embedded(self, images: int, seconds: float) -> None:
        """The backend answered a batch. May be called in any thread."""
        self._inferred.observe(seconds)
        self._batches.observe(images)
        self._images.inc(images)

    def exposition(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)


class _Gauges:
    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        now = self._read()
        yield _gauge("umzero_ready", "1 when requests are answered.", float(now.ready))
        yield _gauge("umzero_queue_depth", "Requests at work or waiting.", now.queue_depth)
        yield _gauge("umzero_queue_capacity", "The most of them.", now.queue_capacity)
        plan = now.plan
        yield _gauge("umzero_lanes", "Batches that may run at the same time.", plan.lanes)
        yield _gauge("umzero_threads", "Threads of an inference that runs alone.", plan.threads)
        yield _gauge("umzero_max_batch", "Images in a batch, at most.", plan.max_batch)
        yield _gauge("umzero_registry_revision", "Of the classes in memory.", now.revision)
        classes = GaugeMetricFamily("umzero_classes", "Classes in memory.", labels=["origin"])
        classes.add_metric(["bundle"], now.own_classes)
        classes.add_metric(["registered"], now.registered_classes)
        yield classes


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
