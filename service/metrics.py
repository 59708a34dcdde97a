"""What Prometheus sees. Labels never hold a class, an id or a path that a client chose."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from service.readings import Board, Build, Reading, merged
from service.workers.folder import counters_in

if TYPE_CHECKING:
    from service.workers.member import Member

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """A service's metrics, in a registry of their own.

    Args:
        member: which of several processes counts here. `exposition` then tells what all of them
            counted, also those that were replaced. The variable PROMETHEUS_MULTIPROC_DIR must name
            `counters_in(member.folder)` since the process began.
    """

    def __init__(self, member: "Member | None" = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody reads
        self._registry = CollectorRegistry()
        self._shown = self._registry
        self._board: Board | None = None
        self._build: Build | None = None
        self._read: Callable[[], Reading] | None = None
        if member is not None:
            # By slot and not by process: who replaces a worker counts on in its files.
            values.ValueClass = values.MultiProcessValue(lambda: member.slot)  # type: ignore[no-untyped-call]
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, str(counters_in(member.folder)))  # type: ignore[no-untyped-call]
            self._board = Board(member.folder, member.slot)

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
        self._swaps = counter(
            "umzero_bundle_swaps_total",
            "Attempts to swap the bundle: done, refused or failed.",
            ("result",),
        )

    def describe(self, version: str, bundle: str, backend: str, precision: str) -> None:
        """Say what runs from now on."""
        self._build = (version, bundle, backend, precision)

    def swap_ended(self, result: str) -> None:
        self._swaps.labels(result).inc()

    def watch(self, read: Callable[[], Reading]) -> None:
        """Fill the gauges from `read` at every exposition."""
        self._read = read
        self._shown.register(_Gauges(self._readings))

    def show(self) -> None:
        """Let the other processes see our gauges; they see them as they are now."""
        if self._board is not None:
            self._board.show(self._reading())

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).observe(seconds)

    def image_decoded(self, seconds: float) -> None:
        """May be called in any thread."""
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
        return generate_latest(self._shown)

    def _reading(self) -> Reading:
        assert self._read is not None
        return replace(self._read(), build=self._build)

    def _readings(self) -> list[Reading]:
        return [self._reading(), *(self._board.others() if self._board else ())]


class _Gauges:
    def __init__(self, read: Callable[[], list[Reading]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        readings = self._read()
        now = merged(readings)
        builds = sorted({reading.build for reading in readings if reading.build})
        if builds:
            info = GaugeMetricFamily(
                "umzero_build_info",
                "Always 1; the labels say what runs.",
                labels=("version", "bundle", "backend", "precision"),
            )
            for build in builds:
                info.add_metric(build, 1)
            yield info
        yield _gauge("umzero_workers", "Processes that answer requests.", len(readings))
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
