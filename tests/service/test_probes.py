"""What the three probes of an orchestrator are told, from the start of a service to its end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from model.bundle import Bundle
from model.runtime.base import U8
from model.runtime.fake import FakeBackend
from service import lifecycle
from service.app import create_app
from service.lifecycle import Service
from service.settings import Settings
from tests.service.hanging import LIMIT_S, WHITE, Hanging

Statuses = tuple[int, int, int]
Ask = Callable[[], Awaitable[Statuses]]


def run(
    work: Callable[[Service, Ask], Awaitable[None]],
    bundle: Bundle,
    folder: Path,
    fail: Callable[[U8], Exception | None],
) -> None:
    """Do something with a service that has just been started; `fail` is shown its warm-up."""

    async def test() -> None:
        settings = Settings(bundle=bundle.path, state_dir=folder)
        app = create_app(settings, FakeBackend.of(bundle, fail=fail))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):

            async def ask() -> Statuses:
                paths = ("/livez", "/readyz", "/startupz")
                live, ready, started = [(await client.get(path)).status_code for path in paths]
                assert (await client.get("/v2/health/live")).status_code == live
                return live, ready, started

            await work(app.state.service, ask)

    asyncio.run(test())


def until(warm: threading.Event) -> Callable[[U8], None]:
    def hold(_: U8) -> None:
        warm.wait(60)

    return hold


def test_a_service_has_started_once_it_is_warm_and_that_stays_so_while_it_drains(
    bundle: Bundle, tmp_path: Path
) -> None:
    warm = threading.Event()

    async def work(service: Service, ask: Ask) -> None:
        assert await ask() == (200, 503, 503)
        warm.set()
        await service.settled.wait()
        assert await ask() == (200, 200, 200)
        service.drain()
        assert await ask() == (200, 503, 200)

    run(work, bundle, tmp_path, until(warm))


def test_a_service_whose_batch_never_ends_does_not_live(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "STUCK_S", 0.0)
    hanging = Hanging()

    async def work(service: Service, ask: Ask) -> None:
        await service.settled.wait()
        assert await ask() == (200, 200, 200)
        embed = service.generation.inference.embed
        stuck = asyncio.create_task(embed(WHITE))
        await asyncio.to_thread(hanging.entered.wait, LIMIT_S)
        assert await ask() == (503, 200, 200)
        hanging.end.set()
        await stuck
        assert await ask() == (200, 200, 200)

    run(work, bundle, tmp_path, hanging)


def test_a_service_whose_warm_up_fails_has_not_started(bundle: Bundle, tmp_path: Path) -> None:
    async def work(service: Service, ask: Ask) -> None:
        await service.settled.wait()
        assert await ask() == (200, 503, 503)

    run(work, bundle, tmp_path, lambda _: RuntimeError("no kernel image is available"))


def test_a_service_that_is_told_to_end_while_it_warms_up_has_not_started(
    bundle: Bundle, tmp_path: Path
) -> None:
    warm = threading.Event()

    async def work(service: Service, ask: Ask) -> None:
        service.drain()
        assert await ask() == (200, 503, 503)
        warm.set()

    run(work, bundle, tmp_path, until(warm))
