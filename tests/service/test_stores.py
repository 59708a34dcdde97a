"""What every store keeps: one revision a write, all or nothing, tombstones, unique names."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from service.errors import (
    ClassExists,
    ConfigurationError,
    NameTaken,
    PreconditionFailed,
    UnknownClass,
)
from service.registry.records import NewClass
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from tests.stores import NAMES, OTHERS, at_once, changes_since, told

Make = Callable[..., NewClass]


def test_what_was_added_is_read_back(store: ClassStore, new_class: Make) -> None:
    item = new_class("kite")

    assert store.revision() == 0
    assert store.add("default", [item]) == 1

    record = store.get("default", "kite")
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
    store.add("default", [new_class("a"), new_class("b"), new_class("c")])
    store.add("default", [new_class("d")])
    store.replace("default", new_class("b", name="another name"))
    store.remove("default", "c")

    assert told(changes_since(store, 0)) == (4, ["a", "b", "d"], ["c"])
    assert told(changes_since(store, 1)) == (4, ["b", "d"], ["c"])
    assert told(changes_since(store, 2)) == (4, ["b"], ["c"])
    assert told(changes_since(store, 3)) == (4, [], ["c"])
    assert told(changes_since(store, 4)) == (4, [], [])
    assert store.revision() == 4


def test_a_removed_id_and_its_name_can_be_used_again(store: ClassStore, new_class: Make) -> None:
    store.add("default", [new_class("a", name="Kite")])
    store.remove("default", "a")
    assert store.get("default", "a") is None

    store.add("default", [new_class("b", name="Kite"), new_class("a", name="Hawk")])

    assert told(changes_since(store, 2)) == (3, ["a", "b"], [])


def test_one_refused_class_refuses_the_whole_batch(store: ClassStore, new_class: Make) -> None:
    store.add("default", [new_class("a", name="Kite")])
    before = told(changes_since(store, 0))

    with pytest.raises(ClassExists) as exists:
        store.add("default", [new_class("x"), new_class("a")])
    with pytest.raises(NameTaken) as taken:
        store.add("default", [new_class("x"), new_class("y"), new_class("z", name="Kite")])

    assert (exists.value.index, taken.value.index) == (1, 2)
    assert told(changes_since(store, 0)) == before
    assert store.revision() == 1
    assert store.add("default", [new_class("x")]) == 2


def test_replacing_keeps_the_time_of_creation_and_the_name_if_it_is_its_own(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [new_class("a", name="Kite"), new_class("b", name="Hawk")])
    created = store.get("default", "a")

    store.replace("default", new_class("a", name="Kite", attributes=np.ones(9, np.float32)))

    replaced = store.get("default", "a")
    assert created is not None
    assert replaced is not None
    assert replaced.attributes.tolist() == [1] * 9
    assert replaced.summary.created_at == created.summary.created_at
    with pytest.raises(NameTaken):
        store.replace("default", new_class("a", name="Hawk"))


def test_what_is_not_there_can_be_neither_replaced_nor_removed(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [new_class("gone")])
    store.remove("default", "gone")

    for class_id in ("gone", "never"):
        with pytest.raises(UnknownClass):
            store.replace("default", new_class(class_id))
        with pytest.raises(UnknownClass):
            store.remove("default", class_id)
    assert store.revision() == 2


def test_a_write_that_expects_another_revision_is_refused(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [new_class("a"), new_class("b")])
    store.replace("default", new_class("a", name="second"))

    for expected in (frozenset({1}), frozenset({3, 99}), frozenset[int]()):
        with pytest.raises(PreconditionFailed, match="revision 2"):
            store.replace("default", new_class("a", name="lost"), expected)
        with pytest.raises(PreconditionFailed):
            store.remove("default", "a", expected)
    with pytest.raises(UnknownClass):
        store.remove("default", "never", frozenset({1}))
    with pytest.raises(UnknownClass):
        store.replace("default", new_class("never"), frozenset({1}))
    assert told(changes_since(store, 1)) == (2, ["a"], [])

    assert store.replace("default", new_class("a", name="third"), frozenset({2, 7})) == 3
    assert store.remove("default", "a", frozenset({3})) == 4
    assert store.remove("default", "b") == 5


def test_of_writers_that_expect_the_same_revision_one_wins(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [new_class("a")])
    results = at_once(
        6,
        lambda number: store.replace("default", new_class("a", name=f"n{number}"), frozenset({1})),
    )

    assert Counter(map(type, results)) == {int: 1, PreconditionFailed: 5}
    assert store.revision() == 2


def test_a_batch_larger_than_one_statement_is_checked_to_its_end(
    store: ClassStore, new_class: Make
) -> None:
    batch = [new_class(f"c{number}") for number in range(1203)]

    assert store.add("default", batch) == 1
    with pytest.raises(ClassExists) as refused:
        store.add(
            "default", [*(new_class(f"d{number}") for number in range(1100)), new_class("c1202")]
        )

    assert refused.value.index == 1100
    assert len(changes_since(store, 0).written) == 1203


def test_writers_in_several_threads_each_get_a_revision_of_their_own(
    store: ClassStore, new_class: Make
) -> None:
    revisions: list[int] = []

    def write(number: int) -> None:
        for step in range(5):
            revisions.append(store.add("default", [new_class(f"{number}-{step}")]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(revisions) == list(range(1, 21))
    assert store.revision() == 20


def test_of_writers_of_one_name_one_wins(store: ClassStore, new_class: Make) -> None:
    results = at_once(
        6, lambda number: store.add("default", [new_class(f"c{number}", name="Kite")])
    )

    assert Counter(map(type, results)) == {int: 1, NameTaken: 5}
    assert store.revision() == 1


def test_of_writers_of_one_id_one_wins_in_one_process_and_in_several(
    database_url: str, new_class: Make
) -> None:
    stores = [SqlStore(database_url, NAMES) for _ in range(3)]

    for round_number in range(5):
        class_id = f"c{round_number}"

        def write(number: int, class_id: str = class_id) -> int:
            return stores[number % 3].add(
                "default", [new_class(class_id, name=f"{class_id} {number}")]
            )

        results = at_once(6, write)
        assert Counter(map(type, results)) == {int: 1, ClassExists: 5}

    assert stores[0].revision() == 5
    for store in stores:
        store.close()


def test_a_follower_of_many_writers_misses_no_revision(database_url: str, new_class: Make) -> None:
    writers = [SqlStore(database_url, NAMES) for _ in range(2)]
    follower = SqlStore(database_url, NAMES)

    def write(number: int) -> None:
        for step in range(25):
            writers[number % 2].add("default", [new_class(f"{number}-{step}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    reached = looks = 0
    while reached < 150:
        counted = follower.revision()
        changes = changes_since(follower, reached)
        found = sorted(record.summary.revision for record in changes.written.values())
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
    first = SqlStore(database_url, NAMES)
    first.add("default", [new_class("a")])
    first.close()

    second = SqlStore(database_url, NAMES)

    assert told(changes_since(second, 0)) == (1, ["a"], [])
    second.close()


def test_a_process_killed_before_its_commit_leaves_nothing(
    database_url: str, new_class: Make
) -> None:
    program = f"""
import os, signal, sys
import numpy as np
from sqlalchemy import Connection
from service.registry import sql_rows, sql_store
from service.registry.records import NewClass
store = sql_store.SqlStore({database_url!r}, {NAMES!r})
store.add("default", [NewClass("kept", "kept", np.zeros(9, np.float32), 9, 0)])
real = sql_rows.columns
def dies(collection, item, revision):
    if item.class_id == "last":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(collection, item, revision)
sql_rows.columns = dies
store.add("default", [NewClass(n, n, np.zeros(9, np.float32), 9, 0) for n in ("lost", "last")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr

    store = SqlStore(database_url, NAMES)

    assert told(changes_since(store, 0)) == (1, ["kept"], [])
    assert store.add("default", [new_class("lost")]) == 2
    store.close()


def test_sheets_of_other_attributes_are_refused_once_there_are_any(
    database_url: str, new_class: Make
) -> None:
    first = SqlStore(database_url, NAMES)
    late = SqlStore(database_url, OTHERS)  # nothing is stored yet: anyone may begin
    first.add("default", [new_class("a")])

    with pytest.raises(ConfigurationError, match="other attributes"):
        late.add("default", [new_class("b")])
    with pytest.raises(ConfigurationError, match="other attributes"):
        SqlStore(database_url, OTHERS)

    assert told(changes_since(first, 0)) == (1, ["a"], [])
    first.close()
    late.close()
