"""The registry: memory follows the store, and only the store."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle, BundleClass
from model.runtime.base import F32
from model.runtime.fake import FakeBackend
from service.errors import BundleClassError, NameTaken, StoreUnavailable, UnknownClass
from service.registry import prototypes as made
from service.registry.collection import Collection
from service.registry.memory_store import MemoryStore
from service.registry.prototypes import Prototypes
from service.registry.records import NewClass
from service.registry.registry import Registry
from service.registry.sql_store import SqlStore
from service.registry.table import PrototypeTable
from tests.stores import OTHERS, changes_since

Make = Callable[..., NewClass]


@pytest.fixture
def backend(bundle: Bundle) -> FakeBackend:
    return FakeBackend.of(bundle)


def nothing(photographs: Sequence[bytes]) -> F32:
    raise AssertionError("no class here has photographs")


def registry_of(
    store: MemoryStore | SqlStore, bundle: Bundle, prototypes: Callable[[F32], F32]
) -> Registry:
    registry = Registry(store, bundle.classes, Prototypes(prototypes, nothing))
    registry.load()
    return registry


def test_the_bundles_own_classes_are_there_from_the_start_and_are_never_stored(
    bundle: Bundle, backend: FakeBackend
) -> None:
    store = MemoryStore()
    registry = registry_of(store, bundle, backend.prototypes)

    table = registry.tables.of("default")
    assert set(table.names) == {"Robin", "Jay", "Cardinal", "Parrot"}
    assert table.is_seen.all()
    robin = next(item for item in bundle.classes if item.name == "Robin")
    expected = backend.prototypes(np.array([robin.attributes], np.float32))[0]
    assert table.take([table.find("robin") or 0])[0].tolist() == expected.tolist()
    assert Collection(registry, "default").get("robin").attributes.tolist() == list(
        robin.attributes
    )
    assert (store.revision(), changes_since(store, 0).written) == (0, {})
    registry.close()


def test_a_registered_class_is_in_the_next_snapshot_and_not_in_older_ones(
    bundle: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    registry = registry_of(MemoryStore(), bundle, backend.prototypes)
    before = registry.tables.of("default")
    item = new_class("kite")

    added = Collection(registry, "default").register([item])
    (summary,) = added.classes

    position = registry.tables.of("default").find("kite")
    assert position is not None
    assert before.find("kite") is None
    assert (added.revision, registry.tables.of("default").revision, summary.revision) == (1, 1, 1)
    expected = backend.prototypes(item.attributes[None])[0]
    np.testing.assert_allclose(
        registry.tables.of("default").take([position])[0], expected, atol=1e-6
    )
    registry.close()


def test_a_failed_commit_changes_nothing_in_memory(
    bundle: Bundle, backend: FakeBackend, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    registry = registry_of(store, bundle, backend.prototypes)
    Collection(registry, "default").register([new_class("a")])
    before = registry.tables.of("default")

    def fails(*_: object) -> int:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        for method in ("add", "replace", "remove"):
            patched.setattr(store, method, fails)
        for write in (
            lambda: Collection(registry, "default").register([new_class("b")]),
            lambda: Collection(registry, "default").replace(new_class("a", name="other")),
            lambda: Collection(registry, "default").remove("a"),
        ):
            with pytest.raises(StoreUnavailable):
                write()

    assert registry.tables.of("default") is before
    assert Collection(registry, "default").register([new_class("b")]).revision == 2
    registry.close()


def test_a_backend_that_fails_writes_nothing(bundle: Bundle, new_class: Make) -> None:
    store = MemoryStore()
    backend = FakeBackend.of(bundle)
    broken = False

    def prototypes(sheets: F32) -> F32:
        result = backend.prototypes(sheets)
        return result * np.float32("nan") if broken else result

    registry = registry_of(store, bundle, prototypes)
    broken = True

    with pytest.raises(RuntimeError, match="finite"):
        Collection(registry, "default").register([new_class("a")])

    assert store.revision() == 0
    assert registry.tables.of("default").find("a") is None
    registry.close()


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), RecursionError()])
def test_a_write_that_was_committed_but_not_read_back_shows_at_the_next_refresh(
    error: Exception,
    bundle: Bundle,
    backend: FakeBackend,
    new_class: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    registry = registry_of(store, bundle, backend.prototypes)

    def fails(*_: object) -> int:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store, "changes_since", fails)
        added = Collection(registry, "default").register([new_class("a")])
    (summary,) = added.classes
    assert (summary.class_id, added.revision, registry.tables.of("default").revision) == ("a", 1, 0)

    registry.refresh()

    assert registry.tables.of("default").find("a") is not None
    registry.close()


def test_two_registries_on_one_database_follow_each_other(
    bundle: Bundle, backend: FakeBackend, database_url: str, new_class: Make
) -> None:
    first, second = (
        registry_of(SqlStore(database_url, OTHERS), bundle, backend.prototypes) for _ in range(2)
    )
    Collection(first, "default").register([new_class("a"), new_class("b")])
    second.refresh()
    assert second.tables.of("default").revision == 1
    # A write of one's own brings what others wrote before it.
    Collection(second, "default").remove("a")
    Collection(first, "default").register([new_class("c")])
    Collection(first, "default").replace(new_class("b", name="renamed"))
    second.refresh()

    assert first.tables.of("default").revision == second.tables.of("default").revision == 4
    assert sorted(first.tables.of("default").ids) == sorted(second.tables.of("default").ids)
    assert {"b", "c"} <= set(second.tables.of("default").ids)
    assert "renamed" in second.tables.of("default").names
    assert second.tables.of("default").find("a") is None
    for registry in (first, second):
        by_id = dict(
            zip(
                registry.tables.of("default").ids,
                registry.tables.of("default").prototypes,
                strict=True,
            )
        )
        expected = backend.prototypes(new_class("c").attributes[None])[0]
        np.testing.assert_allclose(by_id["c"], expected, atol=1e-6)
        registry.close()


def test_prototypes_are_computed_in_chunks_and_only_for_what_is_new(
    bundle: Bundle, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "CHUNK", 4)
    backend = FakeBackend.of(bundle)
    sizes: list[int] = []

    def prototypes(sheets: F32) -> F32:
        sizes.append(len(sheets))
        return backend.prototypes(sheets)

    registry = registry_of(MemoryStore(), bundle, prototypes)
    sizes.clear()
    batch = [new_class(f"c{number}") for number in range(10)]
    Collection(registry, "default").register(batch)

    assert sizes == [4, 4, 2]
    for item in batch:
        position = registry.tables.of("default").find(item.class_id)
        expected = backend.prototypes(item.attributes[None])[0]
        np.testing.assert_allclose(
            registry.tables.of("default").take([position or 0])[0], expected, atol=1e-6
        )
    registry.close()


def test_the_bundles_own_classes_can_not_be_changed(
    bundle: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    registry = registry_of(MemoryStore(), bundle, backend.prototypes)

    with pytest.raises(BundleClassError) as refused:
        Collection(registry, "default").register([new_class("a"), new_class("robin")])
    assert refused.value.index == 1
    with pytest.raises(BundleClassError):
        Collection(registry, "default").replace(new_class("robin"))
    with pytest.raises(BundleClassError):
        Collection(registry, "default").remove("robin")
    with pytest.raises(NameTaken):
        Collection(registry, "default").register([new_class("a", name="Robin")])
    Collection(registry, "default").register([new_class("a")])
    with pytest.raises(NameTaken):
        Collection(registry, "default").replace(new_class("a", name="Robin"))
    registry.close()


@pytest.mark.parametrize("class_id", ["never", "", "a/b", "\x00", "ä" * 200])
def test_what_is_not_there_is_unknown(bundle: Bundle, backend: FakeBackend, class_id: str) -> None:
    registry = registry_of(MemoryStore(), bundle, backend.prototypes)

    with pytest.raises(UnknownClass):
        Collection(registry, "default").get(class_id)
    with pytest.raises(UnknownClass):
        Collection(registry, "default").remove(class_id)
    registry.close()


def test_a_stored_class_is_hidden_by_one_of_another_bundles_own(
    bundle: Bundle, backend: FakeBackend, new_class: Make, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    store.add(
        "default",
        [new_class("robin", name="Mine"), new_class("mine", name="Jay"), new_class("free")],
    )

    registry = registry_of(store, bundle, backend.prototypes)

    table = registry.tables.of("default")
    robin = table.at(table.find("robin") or 0)
    assert (robin.name, robin.seen) == ("Robin", True)
    assert table.find("mine") is None
    assert table.find("free") is not None
    assert len([r for r in caplog.records if "hidden" in r.getMessage()]) == 2
    registry.close()


def test_callers_that_catch_up_at_the_same_time_share_one_look(
    bundle: Bundle, backend: FakeBackend, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    registry = registry_of(store, bundle, backend.prototypes)
    looks = 0
    real = registry.refresh

    def counted() -> None:
        nonlocal looks
        looks += 1
        real()

    monkeypatch.setattr(registry, "refresh", counted)

    async def test() -> None:
        store.add("default", [new_class("a")])
        await asyncio.gather(*(registry.catch_up() for _ in range(20)))

    asyncio.run(test())

    assert looks == 1
    assert registry.tables.of("default").find("a") is not None
    registry.close()


def test_following_goes_on_after_a_failure(
    bundle: Bundle, backend: FakeBackend, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    registry = registry_of(store, bundle, backend.prototypes)
    real = store.revision
    failures = 3

    def sometimes() -> int:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StoreUnavailable("gone")
        return real()

    monkeypatch.setattr(store, "revision", sometimes)

    async def test() -> None:
        following = asyncio.ensure_future(registry.follow(0.005))
        store.add("default", [new_class("a")])
        async with asyncio.timeout(20):
            while registry.tables.of("default").find("a") is None:
                await asyncio.sleep(0.005)
        following.cancel()

    asyncio.run(test())
    registry.close()


def test_a_bundle_without_classes_starts_empty(
    bundle: Bundle, backend: FakeBackend, new_class: Make, tmp_path: Path
) -> None:
    own: Sequence[BundleClass] = ()
    registry = Registry(MemoryStore(), own, Prototypes(backend.prototypes, nothing))
    registry.load()
    assert len(registry.tables.of("default")) == 0

    Collection(registry, "default").register([new_class("a")])

    assert registry.tables.of("default").ids == ("a",)
    registry.close()


def test_own_classes_are_told_while_the_database_hangs(
    bundle: Bundle, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, goes_on = MemoryStore(), threading.Event()
    registry = registry_of(store, bundle, backend.prototypes)
    monkeypatch.setattr(store, "get", lambda _: goes_on.wait(60))

    async def test() -> None:
        stuck = [
            asyncio.ensure_future(Collection(registry, "default").look(f"class-{i}"))
            for i in range(5)
        ]
        await asyncio.sleep(0)
        assert (await Collection(registry, "default").look("robin")).summary.name == "Robin"
        assert (await Collection(registry, "default").look_up(["robin", "jay"])).keys() == {
            "robin",
            "jay",
        }
        assert not any(task.done() for task in stuck)
        goes_on.set()
        await asyncio.gather(*stuck, return_exceptions=True)

    asyncio.run(test())
    registry.close()


@pytest.fixture
def pair(bundle: Bundle, backend: FakeBackend) -> tuple[Registry, Registry]:
    """One and its successor, on one store."""
    store = MemoryStore()
    first, second = (registry_of(store, bundle, backend.prototypes) for _ in range(2))
    first.successor = second
    return first, second


def test_a_successor_that_fails_or_goes_fails_no_write(
    pair: tuple[Registry, Registry], new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair

    def closed() -> None:
        first.successor = None
        raise RuntimeError("the backend is closed")

    monkeypatch.setattr(second, "refresh", closed)

    assert Collection(first, "default").register([new_class("a")]).classes[0].class_id == "a"
    assert Collection(first, "default").remove("a") == 2
    first.refresh()


def test_what_was_written_is_read_of_one_table_whoever_moves_it_meanwhile(
    pair: tuple[Registry, Registry], new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    Collection(first, "default").register([new_class("a"), new_class("b")])
    find = PrototypeTable.find
    left = ["a"]

    def find_while_another_removes(table: PrototypeTable, class_id: str) -> int | None:
        found = find(table, class_id)
        if class_id == "c" and left:
            # The predecessor's thread, which refreshes the second one as well.
            Collection(first, "default").remove(left.pop())
        return found

    monkeypatch.setattr(PrototypeTable, "find", find_while_another_removes)

    added = Collection(second, "default").register([new_class("c")])

    assert [item.class_id for item in added.classes] == ["c"]
    assert set(second.tables.of("default").ids) >= {"b", "c"}
    assert not left
