"""What every store keeps: one revision a write, all or nothing, tombstones, unique names."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from service.errors import (
    ClassExists,
    ConfigurationError,
    IdempotencyKeyReused,
    NameTaken,
    PreconditionFailed,
    ServiceError,
    UnknownClass,
)
from service.registry.once import AddedBefore, Once
from service.registry.records import Changes, NewClass, PhotographsMean
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore, MemoryStore

Make = Callable[..., NewClass]
SPACE = "a" * 64


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, sqlite_file: Path) -> Iterator[ClassStore]:
    store: ClassStore
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "sqlite":
        store = SqlStore(f"sqlite:///{sqlite_file}", SPACE, 9)
    else:
        store = SqlStore(request.getfixturevalue("postgres").database(), SPACE, 9)
    yield store
    store.close()


def told(changes: Changes) -> tuple[int, list[str], list[str]]:
    written = sorted(record.summary.class_id for record in changes.written)
    return changes.revision, written, sorted(changes.removed)


def test_what_was_added_is_read_back(store: ClassStore, new_class: Make) -> None:
    item = new_class("kite")

    assert store.revision() == 0
    assert store.add([item]) == 1

    record = store.get("kite")
    assert record is not None
    assert record.attributes.dtype == np.float64
    assert record.attributes.tolist() == item.attributes.tolist()
    assert record.metadata == {"key": "kite"}
    summary = record.summary
    assert (summary.class_id, summary.name, summary.seen) == ("kite", "name of kite", False)
    assert (summary.given, summary.filled, summary.revision) == (6, 3, 1)
    assert summary.origin == "registered"
    assert (summary.created_at or "").endswith("Z")


def test_changes_tell_what_was_added_replaced_and_removed(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("a"), new_class("b"), new_class("c")])
    store.add([new_class("d")])
    store.replace(new_class("b", name="another name"))
    store.remove("c")

    assert told(store.changes_since(0)) == (4, ["a", "b", "d"], ["c"])
    assert told(store.changes_since(1)) == (4, ["b", "d"], ["c"])
    assert told(store.changes_since(2)) == (4, ["b"], ["c"])
    assert told(store.changes_since(3)) == (4, [], ["c"])
    assert told(store.changes_since(4)) == (4, [], [])
    assert store.revision() == 4


def test_a_removed_id_and_its_name_can_be_used_again(store: ClassStore, new_class: Make) -> None:
    store.add([new_class("a", name="Kite")])
    store.remove("a")
    assert store.get("a") is None

    store.add([new_class("b", name="Kite"), new_class("a", name="Hawk")])

    assert told(store.changes_since(2)) == (3, ["a", "b"], [])


def test_one_refused_class_refuses_the_whole_batch(store: ClassStore, new_class: Make) -> None:
    store.add([new_class("a", name="Kite")])
    before = told(store.changes_since(0))

    with pytest.raises(ClassExists) as exists:
        store.add([new_class("x"), new_class("a")])
    with pytest.raises(NameTaken) as taken:
        store.add([new_class("x"), new_class("y"), new_class("z", name="Kite")])

    assert (exists.value.index, taken.value.index) == (1, 2)
    assert told(store.changes_since(0)) == before
    assert store.revision() == 1
    assert store.add([new_class("x")]) == 2


def test_replacing_keeps_the_time_of_creation_and_the_name_if_it_is_its_own(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("a", name="Kite"), new_class("b", name="Hawk")])
    created = store.get("a")

    store.replace(new_class("a", name="Kite", attributes=np.ones(9, np.float32)))

    replaced = store.get("a")
    assert created is not None
    assert replaced is not None
    assert replaced.attributes.tolist() == [1] * 9
    assert replaced.summary.created_at == created.summary.created_at
    with pytest.raises(NameTaken):
        store.replace(new_class("a", name="Hawk"))


def test_what_is_not_there_can_be_neither_replaced_nor_removed(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("gone")])
    store.remove("gone")

    for class_id in ("gone", "never"):
        with pytest.raises(UnknownClass):
            store.replace(new_class(class_id))
        with pytest.raises(UnknownClass):
            store.remove(class_id)
    assert store.revision() == 2


def test_a_write_that_expects_another_revision_is_refused(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("a"), new_class("b")])
    store.replace(new_class("a", name="second"))

    for expected in (frozenset({1}), frozenset({3, 99}), frozenset[int]()):
        with pytest.raises(PreconditionFailed, match="revision 2"):
            store.replace(new_class("a", name="lost"), expected)
        with pytest.raises(PreconditionFailed):
            store.remove("a", expected)
    for write in (store.remove, lambda _, e: store.replace(new_class("never"), e)):
        with pytest.raises(UnknownClass):
            write("never", frozenset({1}))
    assert told(store.changes_since(1)) == (2, ["a"], [])

    assert store.replace(new_class("a", name="third"), frozenset({2, 7})) == 3
    assert store.remove("a", frozenset({3})) == 4
    assert store.remove("b") == 5


def test_of_writers_that_expect_the_same_revision_one_wins(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("a")])
    results = at_once(
        6, lambda number: store.replace(new_class("a", name=f"n{number}"), frozenset({1}))
    )

    assert Counter(map(type, results)) == {int: 1, PreconditionFailed: 5}
    assert store.revision() == 2


ONCE = Once("key-1", "f" * 64)


def test_a_key_adds_once_and_then_recalls_what_was_answered(
    store: ClassStore, new_class: Make
) -> None:
    batch = [photographed(new_class("b")), new_class("a")]
    assert store.recall(ONCE) is None
    assert store.add(batch, ONCE) == 1
    written = {r.summary.class_id: r.summary for r in store.changes_since(0).written}
    store.remove("b")

    with pytest.raises(AddedBefore) as before:
        store.add(batch, ONCE)

    for added in (before.value.added, store.recall(ONCE)):
        assert added is not None
        assert (list(added.classes), added.revision) == ([written["b"], written["a"]], 1)
        assert added.again
    assert told(store.changes_since(1)) == (2, [], ["b"])
    assert store.add(batch[:1], Once("key-2", ONCE.fingerprint)) == 3


def test_a_key_with_another_request_is_refused(store: ClassStore, new_class: Make) -> None:
    store.add([new_class("a")], ONCE)
    other = Once(ONCE.key, "0" * 64)

    with pytest.raises(IdempotencyKeyReused):
        store.recall(other)
    with pytest.raises(IdempotencyKeyReused):
        store.add([new_class("b")], other)

    assert store.revision() == 1


def test_a_key_of_a_refused_batch_is_free(store: ClassStore, new_class: Make) -> None:
    store.add([new_class("a")])
    with pytest.raises(ClassExists):
        store.add([new_class("b"), new_class("a")], ONCE)

    assert store.recall(ONCE) is None
    assert store.add([new_class("b")], ONCE) == 2


def test_keys_are_forgotten_after_a_day(
    store: ClassStore, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([new_class("a")], ONCE)
    store.add([new_class("b")], Once("key-2", "f" * 64))
    begun = time.time()

    monkeypatch.setattr(time, "time", lambda: begun + 23 * 3600)
    assert store.recall(ONCE) is not None
    monkeypatch.setattr(time, "time", lambda: begun + 25 * 3600)
    assert store.recall(ONCE) is None
    assert store.add([new_class("c")], Once(ONCE.key, "0" * 64)) == 3
    assert store.recall(Once(ONCE.key, "0" * 64)) is not None
    # And not only passed over.
    if isinstance(store, SqlStore):
        with store._engine.connect() as connection:
            rows = connection.execute(text("SELECT idempotency_key FROM umzero_idempotency"))
            assert list(rows.scalars()) == [ONCE.key]
    else:
        assert isinstance(store, MemoryStore)
        assert list(store._answers) == [ONCE.key]


def test_of_writers_with_one_key_one_adds(store: ClassStore, new_class: Make) -> None:
    results = at_once(6, lambda _: store.add([new_class("a"), new_class("b")], ONCE))

    assert Counter(map(type, results)) == {int: 1, AddedBefore: 5}
    assert store.revision() == 1


def test_keys_outlive_the_store(database_url: str, new_class: Make) -> None:
    first = SqlStore(database_url, SPACE, 9)
    first.add([new_class("a")], ONCE)
    first.close()

    second = SqlStore(database_url, SPACE, 9)

    added = second.recall(ONCE)
    assert added is not None
    assert [item.class_id for item in added.classes] == ["a"]
    second.close()


MEAN = PhotographsMean(np.array([0.6, -0.8, 0.1], np.float32), "c" * 64)
PHOTOGRAPHS = (b"\x89PNG first", b"\x00second\xff", b"third")


def photographed(item: NewClass, photographs: tuple[bytes, ...] = PHOTOGRAPHS) -> NewClass:
    return replace(item, photographs=photographs, mean=MEAN)


def examples_of(store: ClassStore, class_id: str) -> tuple[int, list[float] | None, list[bytes]]:
    """How many a class has by its record, their mean, and what is there of them."""
    record = store.get(class_id)
    if record is None:
        return 0, None, store.photographs(class_id)
    mean = None if record.mean is None else record.mean.vector.tolist()
    return record.summary.examples, mean, store.photographs(class_id)


def test_photographs_and_their_mean_are_read_back_in_their_order(
    store: ClassStore, new_class: Make
) -> None:
    store.add([new_class("plain"), photographed(new_class("kite"))])

    assert examples_of(store, "kite") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    assert examples_of(store, "plain") == (0, None, [])
    assert examples_of(store, "nobody") == (0, None, [])
    told_of = {record.summary.class_id: record for record in store.changes_since(0).written}
    mean = told_of["kite"].mean
    assert mean is not None
    assert (mean.vector.dtype, mean.bundle) == (np.float32, "c" * 64)
    assert (told_of["kite"].summary.examples, told_of["plain"].summary.examples) == (3, 0)


def test_photographs_go_with_their_class_and_with_what_replaces_it(
    store: ClassStore, new_class: Make
) -> None:
    store.add([photographed(new_class(class_id)) for class_id in ("a", "b", "c", "d")])

    store.remove("a")
    store.replace(new_class("b"))
    store.replace(photographed(new_class("c"), (b"another",)))

    assert examples_of(store, "a") == (0, None, [])
    assert examples_of(store, "b") == (0, None, [])
    assert examples_of(store, "c") == (1, MEAN.vector.tolist(), [b"another"])
    assert examples_of(store, "d") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    store.add([new_class("a")])
    assert examples_of(store, "a") == (0, None, [])


def test_a_write_that_is_refused_leaves_the_photographs_alone(
    store: ClassStore, new_class: Make
) -> None:
    store.add([photographed(new_class("a")), new_class("b", name="Kite")])

    with pytest.raises(ClassExists):
        store.add([photographed(new_class("x")), photographed(new_class("a"), (b"no",))])
    with pytest.raises(NameTaken):
        store.replace(photographed(new_class("a", name="Kite"), (b"no",)))
    with pytest.raises(UnknownClass):
        store.replace(photographed(new_class("y"), (b"no",)))

    assert examples_of(store, "a") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    assert store.photographs("x") == store.photographs("y") == []


def test_photographs_outlive_the_store(database_url: str, new_class: Make) -> None:
    first = SqlStore(database_url, SPACE, 9)
    first.add([photographed(new_class("a")), photographed(new_class("gone"))])
    first.remove("gone")
    first.close()

    second = SqlStore(database_url, SPACE, 9)

    assert examples_of(second, "a") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    record = second.get("a")
    assert record is not None
    assert record.mean is not None
    assert record.mean.bundle == "c" * 64
    with second._engine.connect() as connection:
        rows = connection.execute(text("SELECT class_id FROM umzero_examples")).scalars()
        assert list(rows) == ["a"] * 3
    second.close()


def test_a_batch_larger_than_one_statement_is_checked_to_its_end(
    store: ClassStore, new_class: Make
) -> None:
    batch = [new_class(f"c{number}") for number in range(1203)]

    assert store.add(batch) == 1
    with pytest.raises(ClassExists) as refused:
        store.add([*(new_class(f"d{number}") for number in range(1100)), new_class("c1202")])

    assert refused.value.index == 1100
    assert len(store.changes_since(0).written) == 1203


def test_writers_in_several_threads_each_get_a_revision_of_their_own(
    store: ClassStore, new_class: Make
) -> None:
    revisions: list[int] = []

    def write(number: int) -> None:
        for step in range(5):
            revisions.append(store.add([new_class(f"{number}-{step}")]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(revisions) == list(range(1, 21))
    assert store.revision() == 20


def at_once(count: int, write: Callable[[int], object]) -> list[object]:
    """What so many threads get of a write each: its result, or its error."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        try:
            return write(number)
        except (ServiceError, AddedBefore) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_writers_of_one_name_one_wins(store: ClassStore, new_class: Make) -> None:
    results = at_once(6, lambda number: store.add([new_class(f"c{number}", name="Kite")]))

    assert Counter(map(type, results)) == {int: 1, NameTaken: 5}
    assert store.revision() == 1


def test_of_writers_of_one_id_one_wins_in_one_process_and_in_several(
    database_url: str, new_class: Make
) -> None:
    stores = [SqlStore(database_url, SPACE, 9) for _ in range(3)]

    for round_number in range(5):
        class_id = f"c{round_number}"

        def write(number: int, class_id: str = class_id) -> int:
            return stores[number % 3].add([new_class(class_id, name=f"{class_id} {number}")])

        results = at_once(6, write)
        assert Counter(map(type, results)) == {int: 1, ClassExists: 5}

    assert stores[0].revision() == 5
    for store in stores:
        store.close()


def test_a_follower_of_many_writers_misses_no_revision(database_url: str, new_class: Make) -> None:
    writers = [SqlStore(database_url, SPACE, 9) for _ in range(2)]
    follower = SqlStore(database_url, SPACE, 9)

    def write(number: int) -> None:
        for step in range(25):
            writers[number % 2].add([new_class(f"{number}-{step}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    reached = looks = 0
    while reached < 150:
        counted = follower.revision()
        changes = follower.changes_since(reached)
        found = sorted(record.summary.revision for record in changes.written)
        # Every write was a new class: one for each revision, and none without the ones before it.
        assert found == list(range(reached + 1, changes.revision + 1))
        assert changes.revision >= counted
        reached, looks = changes.revision, looks + bool(found)
    for thread in threads:
        thread.join()

    assert looks > 1
    for store in (*writers, follower):
        store.close()


def test_classes_outlive_the_store(database_url: str, new_class: Make) -> None:
    first = SqlStore(database_url, SPACE, 9)
    first.add([new_class("a")])
    first.close()

    second = SqlStore(database_url, SPACE, 9)

    assert told(second.changes_since(0)) == (1, ["a"], [])
    second.close()


def test_a_process_killed_before_its_commit_leaves_nothing(
    database_url: str, new_class: Make
) -> None:
    program = f"""
import os, signal, sys
import numpy as np
from sqlalchemy import Connection
from service.registry import sql_store
from service.registry.records import NewClass
store = sql_store.SqlStore({database_url!r}, {SPACE!r}, 9)
store.add([NewClass("kept", "kept", np.zeros(9, np.float32), 9, 0)])
real = sql_store._columns
def dies(item, revision):
    if item.class_id == "last":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(item, revision)
sql_store._columns = dies
store.add([NewClass(n, n, np.zeros(9, np.float32), 9, 0) for n in ("lost", "last")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr

    store = SqlStore(database_url, SPACE, 9)

    assert told(store.changes_since(0)) == (1, ["kept"], [])
    assert store.add([new_class("lost")]) == 2
    store.close()


def test_sheets_of_other_attributes_are_refused_once_there_are_any(
    database_url: str, new_class: Make
) -> None:
    first = SqlStore(database_url, SPACE, 9)
    late = SqlStore(database_url, "b" * 64, 9)  # nothing is stored yet: anyone may begin
    first.add([new_class("a")])

    with pytest.raises(ConfigurationError, match="other attributes"):
        late.add([new_class("b")])
    with pytest.raises(ConfigurationError, match="other attributes"):
        SqlStore(database_url, "b" * 64, 9)

    assert told(first.changes_since(0)) == (1, ["a"], [])
    first.close()
    late.close()
