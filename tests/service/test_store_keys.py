"""Keys of requests in the stores: one registration, however often it is asked for."""

import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import text

from service.errors import (
    ClassExists,
    IdempotencyKeyReused,
)
from service.registry.memory_store import MemoryStore
from service.registry.once import AddedBefore, Once
from service.registry.records import NewClass
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from tests.stores import NAMES, at_once, changes_since, photographed, told

Make = Callable[..., NewClass]
ONCE = Once("key-1", "f" * 64)


def test_a_key_adds_once_and_then_recalls_what_was_answered(
    store: ClassStore, new_class: Make
) -> None:
    batch = [photographed(new_class("b")), new_class("a")]
    assert store.recall("default", ONCE) is None
    assert store.add("default", batch, ONCE) == 1
    written = {r.summary.class_id: r.summary for r in changes_since(store, 0).written.values()}
    store.remove("default", "b")

    with pytest.raises(AddedBefore) as before:
        store.add("default", batch, ONCE)

    for added in (before.value.added, store.recall("default", ONCE)):
        assert added is not None
        assert (list(added.classes), added.revision) == ([written["b"], written["a"]], 1)
        assert added.again
    assert told(changes_since(store, 1)) == (2, [], ["b"])
    assert store.add("default", batch[:1], Once("key-2", ONCE.fingerprint)) == 3


def test_a_key_with_another_request_is_refused(store: ClassStore, new_class: Make) -> None:
    store.add("default", [new_class("a")], ONCE)
    other = Once(ONCE.key, "0" * 64)

    with pytest.raises(IdempotencyKeyReused):
        store.recall("default", other)
    with pytest.raises(IdempotencyKeyReused):
        store.add("default", [new_class("b")], other)

    assert store.revision() == 1


def test_a_key_of_a_refused_batch_is_free(store: ClassStore, new_class: Make) -> None:
    store.add("default", [new_class("a")])
    with pytest.raises(ClassExists):
        store.add("default", [new_class("b"), new_class("a")], ONCE)

    assert store.recall("default", ONCE) is None
    assert store.add("default", [new_class("b")], ONCE) == 2


def test_keys_are_forgotten_after_a_day(
    store: ClassStore, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("default", [new_class("a")], ONCE)
    store.add("default", [new_class("b")], Once("key-2", "f" * 64))
    begun = time.time()

    monkeypatch.setattr(time, "time", lambda: begun + 23 * 3600)
    assert store.recall("default", ONCE) is not None
    monkeypatch.setattr(time, "time", lambda: begun + 25 * 3600)
    assert store.recall("default", ONCE) is None
    assert store.add("default", [new_class("c")], Once(ONCE.key, "0" * 64)) == 3
    assert store.recall("default", Once(ONCE.key, "0" * 64)) is not None
    # And not only passed over.
    if isinstance(store, SqlStore):
        with store._engine.connect() as connection:
            rows = connection.execute(text("SELECT idempotency_key FROM umzero_idempotency"))
            assert list(rows.scalars()) == [ONCE.key]
    else:
        assert isinstance(store, MemoryStore)
        assert list(store._answers) == [("default", ONCE.key)]


def test_of_writers_with_one_key_one_adds(store: ClassStore, new_class: Make) -> None:
    results = at_once(6, lambda _: store.add("default", [new_class("a"), new_class("b")], ONCE))

    assert Counter(map(type, results)) == {int: 1, AddedBefore: 5}
    assert store.revision() == 1


def test_keys_outlive_the_store(database_url: str, new_class: Make) -> None:
    first = SqlStore(database_url, NAMES)
    first.add("default", [new_class("a")], ONCE)
    first.close()

    second = SqlStore(database_url, NAMES)

    added = second.recall("default", ONCE)
    assert added is not None
    assert [item.class_id for item in added.classes] == ["a"]
    second.close()
