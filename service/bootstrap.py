"""The composition root: the only place that builds parts and wires them."""

import importlib.metadata
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from model import bundle as bundles
from model.bundle import Bundle
from model.runtime.base import Backend
from model.runtime.load import load
from service.engine.admission import Permits
from service.engine.cpus import available_cpus
from service.engine.decoding import Decoding
from service.engine.generation import Generation
from service.engine.generations import Generations
from service.engine.inference import Inference
from service.engine.plan import Asked, Plan, choose
from service.engine.rate import ServiceRate
from service.errors import ConfigurationError
from service.lifecycle import Service
from service.metrics import Metrics
from service.readings import Reading
from service.registry.prototypes import prototypes_of
from service.registry.registry import Registry
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from service.registry.traced_store import traced
from service.settings import Settings
from service.tracing import tracer_to
from service.usecases.classify import Classify
from service.usecases.explain import Explain
from service.usecases.gathering import IMAGES_AT_ONCE
from service.usecases.import_classes import Import
from service.usecases.preview import Previews
from service.usecases.register_class import Register
from service.usecases.swap_bundle import SwapBundle
from service.workers.member import Member

log = logging.getLogger(__name__)

OpenBackend = Callable[[Bundle], Backend]
_BY_SIGNAL = (
    "Put the bundle into the configured folder's place, and send SIGHUP to the main process"
)


def build(
    settings: Settings,
    backend: Backend | None = None,
    store: ClassStore | None = None,
    member: Member | None = None,
    open_backend: OpenBackend | None = None,
    cpus: int | None = None,
    swap_instead: str = "",
) -> Service:
    """Build a service that has not started.

    Args:
        backend: of the first bundle, instead of the one that the settings name.
        store: instead of the database that the settings name.
        member: which of several processes this is.
        open_backend: of every bundle, those that are swapped in too, instead of the settings'.
        cpus: that may be kept busy, instead of the member's, or all that are there.
        swap_instead: how the bundle is changed, where somebody else runs several such services.

    Raises:
        ModelError: no bundle there, or no backend for it.
        ConfigurationError: the database can't be used, or a module is missing.
    """
    tracer = tracer_to(settings.traces, version())
    bundle = bundles.read(settings.bundle)
    cpus = cpus or (member.share.cpus if member else available_cpus())
    if backend is None and open_backend is not None:
        backend = open_backend(bundle)
    plan, backend = _planned(settings, bundle, backend, cpus)
    _check_fit(bundle, backend)
    classes = store or SqlStore(
        settings.store_url, bundle.manifest.attributes.names, settings.database_timeout_s
    )
    if settings.traces != "none":
        classes = traced(classes)
    metrics = Metrics(member)
    rate = ServiceRate(plan.lanes, metrics)

    def generation_of(bundle: Bundle, backend: Backend) -> Generation:
        return Generation(
            bundle=bundle,
            backend=backend,
            inference=Inference(
                backend,
                Decoding(
                    bundle.manifest.input_size,
                    settings.max_image_pixels,
                    settings.decode_threads or cpus,
                ),
                max_batch=plan.max_batch,
                # As much again for the photographs of classes: they have permits of their own.
                capacity=2 * settings.queue_capacity * IMAGES_AT_ONCE,
                lanes=plan.lanes,
                observer=rate,
                embedded=metrics.batch_embedded,
                decoded=metrics.image_decoded,
            ),
            registry=Registry(classes, bundle.classes, prototypes_of(bundle, backend)),
        )

    def as_planned(bundle: Bundle) -> Backend:
        # Measured again under load, the plan would be another one.
        kind = settings.backend
        return load(bundle, settings.device, settings.precision, plan.threads, kind, plan.lanes)

    def open_generation(bundle: Bundle) -> Generation:
        backend = (open_backend or as_planned)(bundle)
        try:
            _check_fit(bundle, backend)
        except ConfigurationError:
            backend.close()
            raise
        return generation_of(bundle, backend)

    def describe(generation: Generation) -> None:
        runs = generation.backend.info
        metrics.describe(version(), generation.bundle.name, runs.name, runs.precision)

    generations = Generations(generation_of(bundle, backend))
    workers = ThreadPoolExecutor(max(2, cpus), "worker")
    classify, register = Classify(workers), Register(workers, settings.max_image_bytes)
    service = Service(
        settings=settings,
        metrics=metrics,
        permits=Permits(settings.queue_capacity, rate.retry_after_s),
        write_permits=Permits(settings.queue_capacity),
        workers=workers,
        classify=classify,
        explain=Explain(workers),
        previews=Previews(workers, register, classify),
        register=register,
        importing=Import(workers, settings.max_image_bytes),
        generations=generations,
        swap=SwapBundle(
            generations,
            open_generation,
            settings.bundle,
            Path(settings.bundles_dir) if settings.bundles_dir else None,
            describe,
            metrics.swap_ended,
            swap_instead or (_BY_SIGNAL if settings.workers > 1 else ""),
        ),
        plan=plan,
        tracer=tracer,
    )
    describe(generations.current)
    metrics.watch(lambda: _reading(service))
    return service


def _planned(
    settings: Settings, bundle: Bundle, backend: Backend | None, cpus: int
) -> tuple[Plan, Backend]:
    """Measure how to run the bundle's network; what the settings fix is not varied."""
    # Torch's threads are the process's: the last backend that was tried would set them for all.
    threads = settings.threads or (cpus if settings.backend == "torch" else 0)
    asked = Asked(settings.lanes, threads, settings.max_batch)
    if backend is not None:
        plan = Plan(asked.lanes or min(2, cpus), asked.threads or cpus, asked.max_batch or 16)
        return plan, backend

    def open_backend(lanes: int, threads: int) -> Backend:
        kind = settings.backend
        return load(bundle, settings.device, settings.precision, threads, kind, lanes)

    chosen = choose(open_backend, asked, cpus, settings.device)
    rates = {"alone": round(chosen.alone, 1), "together": round(chosen.together, 1)}
    log.info("engine planned", extra={"cpus": cpus, **asdict(chosen.plan), **rates})
    return chosen.plan, chosen.backend


def version() -> str:
    try:
        return importlib.metadata.version("umzero")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _check_fit(bundle: Bundle, backend: Backend) -> None:
    info, manifest = backend.info, bundle.manifest
    if (info.input_size, info.attribute_count) != (manifest.input_size, len(manifest.attributes)):
        raise ConfigurationError(
            f"the backend takes {info.input_size} pixels and {info.attribute_count} attributes; "
            f"the bundle {bundle.name} has {manifest.input_size} and {len(manifest.attributes)}"
        )


def _reading(service: Service) -> Reading:
    tables = service.generation.registry.tables
    return Reading(
        ready=service.state == "ready",
        queue_depth=service.permits.taken,
        queue_capacity=service.settings.queue_capacity,
        plan=service.plan,
        own_classes=tables.own_count,
        registered_classes=sum(tables.registered_counts().values()),
        revision=tables.revision,
    )
