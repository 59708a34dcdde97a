"""Swapping bundles: the parts, in one process."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.runtime.base import U8
from model.runtime.fake import FakeBackend
from service.bootstrap import build
from service.engine.generation import Generation
from service.errors import (
    BundleDamaged,
    BundleUnusable,
    StoreUnavailable,
    SwapInProgress,
    UnknownBundle,
)
from service.lifecycle import Service
from service.registry.collection import Collection
from service.registry.memory_store import MemoryStore
from service.registry.records import NewClass
from service.settings import Settings
from tests.twins import write_twins

Make = Callable[..., NewClass]


class FlakyStore(MemoryStore):
    """Gone while `is_gone`."""

    is_gone = False

    def revision(self) -> int:
        if self.is_gone:
            raise StoreUnavailable("gone")
        return super().revision()


def run(
    work: Callable[[Service], Awaitable[None]],
    bundle: Bundle,
    store: MemoryStore | None = None,
    open_backend: Callable[[Bundle], FakeBackend] = FakeBackend.of,
) -> None:
    """Do something with a service that is ready."""

    async def test() -> None:
        settings = Settings(bundle=bundle.path, refresh_s=60)
        service = build(settings, store=store or MemoryStore(), open_backend=open_backend)
        service.start()
        await service.settled.wait()
        try:
            await work(service)
        finally:
            await service.stop()

    asyncio.run(test())


async def embedded(generation: Generation) -> Any:
    size = generation.bundle.manifest.input_size
    return await generation.inference.embed(np.zeros((size, size, 3), np.uint8))


def test_the_old_generation_stays_open_until_all_that_began_before_the_swap_have_ended(
    twins: tuple[Bundle, Bundle],
) -> None:
    async def work(service: Service) -> None:
        generations = service.generations
        first, began = service.generation, generations.epoch
        with began:
            await service.swap.to("second")
            second, later = service.generation, generations.epoch
            with later:
                await service.swap.to("first")
                await asyncio.sleep(0.05)
                await embedded(first)
                await embedded(second)
            await asyncio.sleep(0.05)
            # Who began first may have been admitted by the second one.
            await embedded(second)
        for old in (first, second):
            while True:
                try:
                    old.backend.embed(np.zeros((1, 1, 1, 3), np.uint8))
                except ValueError:
                    await asyncio.sleep(0.01)  # of the wrong size: still open
                except RuntimeError:
                    break
        await embedded(service.generation)

    run(work, twins[0])


def test_a_generation_that_was_closed_is_gone_with_its_threads(
    twins: tuple[Bundle, Bundle],
) -> None:
    async def work(service: Service) -> None:
        counts, olds = [], []
        for _ in range(10):
            for name in ("second", "first"):
                olds.append(weakref.ref(service.generation))
                await service.swap.to(name)
            counts.append(threading.active_count())
        for _ in range(100):
            gc.collect()
            if not any(old() for old in olds):
                break
            await asyncio.sleep(0.05)
        assert not any(old() for old in olds)
        assert service.generation.bundle.name == "first"
        # Each had two lanes at least, and a registry's thread.
        assert threading.active_count() < counts[0] + 5

    run(work, twins[0])


def test_what_the_old_generation_writes_after_the_swap_is_known_to_the_new_one_at_once(
    twins: tuple[Bundle, Bundle], new_class: Make
) -> None:
    async def work(service: Service) -> None:
        old = service.generation.registry
        with service.generations.epoch:
            await service.swap.to("second")
            await service.swap.to("first")
            await old.call(lambda: Collection(old, "default").register([new_class("late")]))
            assert service.generation.registry.tables.of("default").find("late") is not None
            await old.call(lambda: Collection(old, "default").remove("late"))
            assert service.generation.registry.tables.of("default").find("late") is None

    run(work, twins[0])


def test_a_swap_whose_store_is_gone_changes_nothing(
    twins: tuple[Bundle, Bundle], new_class: Make
) -> None:
    store = FlakyStore()

    async def work(service: Service) -> None:
        old = service.generation
        store.is_gone = True
        with pytest.raises(StoreUnavailable):
            await service.swap.to("second")
        store.is_gone = False
        assert service.generation is old
        assert old.registry.successor is None
        await old.registry.call(
            lambda: Collection(old.registry, "default").register([new_class("kite")])
        )
        await service.swap.to("second")
        assert service.generation.registry.tables.of("default").find("kite") is not None

    run(work, twins[0], store)


def test_a_bundle_that_fails_its_first_image_does_not_take_over(
    twins: tuple[Bundle, Bundle],
) -> None:
    def fail(_: U8) -> Exception:
        return RuntimeError("of no use")

    def open_backend(bundle: Bundle) -> FakeBackend:
        return FakeBackend.of(bundle, fail=fail if bundle.name == "second" else None)

    async def work(service: Service) -> None:
        before = threading.active_count()
        with pytest.raises(BundleUnusable, match="second"):
            await service.swap.to("second")
        assert service.swap.current.name == "first"
        assert threading.active_count() <= before + 1  # the one that loads may stay
        await embedded(service.generation)

    run(work, twins[0], open_backend=open_backend)


def test_a_backend_that_does_not_fit_its_bundle_is_closed_again(
    twins: tuple[Bundle, Bundle],
) -> None:
    opened: list[FakeBackend] = []

    def open_backend(bundle: Bundle) -> FakeBackend:
        opened.append(FakeBackend.of(twins[0]))
        return opened[-1]

    async def work(service: Service) -> None:
        with pytest.raises(BundleUnusable, match="32 pixels"):
            await service.swap.to("second")
        with pytest.raises(RuntimeError, match="closed"):
            opened[-1].prototypes(np.zeros((1, 9), np.float32))

    run(work, twins[0], open_backend=open_backend)


def test_of_two_callers_at_the_same_moment_one_swaps_and_one_is_refused(
    twins: tuple[Bundle, Bundle],
) -> None:
    async def work(service: Service) -> None:
        ended = await asyncio.gather(
            *(service.swap.to("second") for _ in range(2)), return_exceptions=True
        )
        assert [type(result) for result in ended] == [type(None), SwapInProgress]

    run(work, twins[0])


def test_a_swap_goes_on_when_its_caller_leaves(twins: tuple[Bundle, Bundle]) -> None:
    async def work(service: Service) -> None:
        caller = asyncio.create_task(service.swap.to("second"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        for _ in range(500):
            if service.generation.bundle.name == "second":
                break
            await asyncio.sleep(0.01)
        assert service.swap.current.name == "second"

    run(work, twins[0])


def test_going_back_wants_the_bundle_that_was_there_and_no_other(tmp_path: Path) -> None:
    first, second = write_twins(tmp_path)

    async def work(service: Service) -> None:
        await service.swap.to("second")
        changed = replace(first.manifest, gamma=9.0)
        bundles.write(first.path, changed, first.classes)
        with pytest.raises(UnknownBundle, match="another one lies in its folder 'first'"):
            await service.swap.to("previous")
        await service.swap.to("first")
        assert service.generation.bundle.manifest.gamma == 9.0
        (second.path / "classes.json").unlink()
        with pytest.raises(BundleDamaged, match=r"classes\.json"):
            await service.swap.to("previous")

    run(work, first)


def test_hangups_while_a_bundle_loads_are_one_more_load(
    twins: tuple[Bundle, Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def told(event: str) -> int:
        return sum(record.message == event for record in caplog.records)

    async def until(count: int) -> None:
        for _ in range(500):
            if told("bundle swapped") == count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never {count} swaps")

    async def work(service: Service) -> None:
        swapping = asyncio.create_task(service.swap.to("second"))
        for _ in range(5):
            await asyncio.sleep(0)
            service.reload()
        await swapping
        await until(2)
        await asyncio.sleep(0.1)
        assert told("bundle loading") == 2
        assert service.generation.bundle.name == "first"  # which the settings name

    run(work, twins[0])
