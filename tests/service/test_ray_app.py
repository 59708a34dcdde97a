"""What a replica of Ray's decides by itself; tests/integration/test_ray.py has a real cluster."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from model.bundle import Bundle
from model.runtime.base import U8
from model.runtime.fake import FakeBackend
from service import lifecycle
from service.bootstrap import build
from service.engine.cpus import available_cpus
from service.errors import ConfigurationError, NotReady
from service.lifecycle import Service
from service.registry.memory_store import MemoryStore
from service.settings import Settings

pytest.importorskip("ray", reason="needs the program ray (the extra scale)")

from service import ray_app
from tests.service.hanging import LIMIT_S, WHITE, Hanging

FILE = Path(__file__).resolve().parents[2] / "docker" / "ray" / "serve.yaml"


def run(
    work: Callable[[Service], Awaitable[None]],
    bundle: Bundle,
    fail: Callable[[U8], Exception | None] | None = None,
) -> None:
    """Do something with a service that warms up."""

    async def test() -> None:
        service = build(
            Settings(bundle=bundle.path),
            store=MemoryStore(),
            open_backend=lambda opened: FakeBackend.of(opened, fail=fail),
        )
        service.start()
        try:
            await work(service)
        finally:
            await service.stop()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_replica_is_healthy_once_it_is_warm_and_not_before(bundle: Bundle) -> None:
    async def work(service: Service) -> None:
        assert service.state == "starting"
        await ray_app.check(service)
        assert service.state == "ready"

    run(work, bundle)


def test_a_replica_that_fails_to_warm_up_is_not_healthy(bundle: Bundle) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(RuntimeError, match="could not start"):
            await ray_app.check(service)

    run(work, bundle, fail=lambda _: ValueError("broken"))


def test_a_replica_whose_batch_never_ends_is_not_healthy(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "STUCK_S", 0.0)
    hanging = Hanging()

    async def work(service: Service) -> None:
        await ray_app.check(service)
        inference = service.generation.inference
        stuck = asyncio.create_task(inference.embed(WHITE))
        await asyncio.to_thread(hanging.entered.wait, LIMIT_S)

        with pytest.raises(NotReady, match="at work"):
            await ray_app.check(service)

        hanging.end.set()
        await stuck
        await ray_app.check(service)

    run(work, bundle, fail=hanging)


def test_classes_in_sqlite_are_refused_as_soon_as_there_is_a_second_machine() -> None:
    shared = Settings(database_url="postgresql://umzero@db/umzero")

    ray_app.check_store(Settings(), machines=1)
    ray_app.check_store(shared, machines=2)
    for url in ("", "sqlite:////shared/umzero.db"):
        with pytest.raises(ConfigurationError, match="PostgreSQL"):
            ray_app.check_store(Settings(database_url=url), machines=2)


@pytest.mark.parametrize(
    ("assigned", "cpus"),
    [
        ({"CPU": 1.0}, 1),
        ({"CPU": 0.5, "GPU": 0.5}, 1),
        ({"GPU": 1.0}, 1),
        ({"CPU": 1e6}, available_cpus()),
        ({"CPU": available_cpus() - 0.5}, available_cpus()),
    ],
)
def test_a_replica_keeps_as_many_cpus_busy_as_ray_counts_for_it(
    assigned: dict[str, float], cpus: int, bundle: Bundle
) -> None:
    found = ray_app.cpus_of(assigned)
    service = build(Settings(bundle=bundle.path), FakeBackend.of(bundle), MemoryStore(), cpus=found)

    assert found == cpus
    assert (service.plan.threads, service.plan.lanes) == (cpus, min(2, cpus))


def test_what_is_rays_to_decide_is_no_setting() -> None:
    for name in ("host", "port", "workers"):
        with pytest.raises(ConfigurationError, match=f"^{name} is Ray's"):
            ray_app.build({name: "1"})
    with pytest.raises(ConfigurationError, match="UMZERO_BUNDEL"):
        ray_app.build({"bundel": "weights/birds"})


def test_the_file_says_of_the_deployment_what_follows_from_the_settings() -> None:
    (application,) = yaml.safe_load(FILE.read_text())["applications"]
    (written,) = application["deployments"]
    derived = ray_app.build(application["args"])._bound_deployment

    assert application["import_path"] == f"{ray_app.__name__}:{ray_app.build.__name__}"
    assert written["name"] == derived.name
    scaling = derived._deployment_config.autoscaling_config
    for name, value in written["autoscaling_config"].items():
        assert getattr(scaling, name) == value
