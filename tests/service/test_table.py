"""The table of prototypes: snapshots that share what didn't change."""

import random
import threading
from collections.abc import Iterable

import numpy as np
import pytest

from service.registry import rows as memory
from service.registry.records import ClassSummary
from service.registry.table import PrototypeTable

Row = tuple[ClassSummary, np.ndarray]


def rows(ids: Iterable[int | str], revision: int = 1, seen: bool = False) -> dict[str, Row]:
    """Classes with prototypes (3,) that follow from their ids and the revision."""
    result: dict[str, Row] = {}
    for number in ids:
        class_id = f"c{number:06d}" if isinstance(number, int) else number
        prototype = np.array([hash(class_id) % 1000, revision, seen], np.float32)
        result[class_id] = (
            ClassSummary(class_id, class_id.upper(), seen, 3, 0, revision),
            prototype,
        )
    return result


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_CAPACITY", 2)


def test_registering_one_class_copies_none_and_leaves_older_snapshots_alone() -> None:
    before = PrototypeTable().advance(1, rows(range(10_000)))
    after = before.advance(2, rows(["one-more"], revision=2))

    assert np.shares_memory(after.rows, before.rows)
    assert len(before) == 10_000
    assert before.find("one-more") is None
    assert (len(before.ids), len(before.is_seen), len(before.prototypes)) == (10_000,) * 3
    assert after.find("one-more") == 10_000
    assert after.at(10_000).name == "ONE-MORE"
    assert after.prototypes[10_000, 1] == 2


def test_replacing_and_removing_copy_no_prototype() -> None:
    before = PrototypeTable().advance(1, rows(range(100)))
    after = before.advance(2, rows([9], revision=2), ["c000050"])

    assert np.shares_memory(after.rows, before.rows)
    assert (len(before), len(after)) == (100, 99)
    assert (before.find("c000050"), after.find("c000050")) == (50, None)


def test_older_snapshots_keep_their_rows_when_there_is_no_more_room(little_room: None) -> None:
    snapshots = [PrototypeTable()]
    for number in range(60):
        snapshots.append(snapshots[-1].advance(number + 1, rows([number], revision=number)))

    for count, table in enumerate(snapshots[1:], 1):
        assert table.prototypes[:, 1].tolist() == list(range(count))
        assert table.ids == tuple(f"c{number:06d}" for number in range(count))


def test_two_successors_of_one_snapshot_do_not_see_each_other() -> None:
    first = PrototypeTable().advance(1, rows(range(3)))

    one = first.advance(2, rows(["a", "b"], revision=2))
    other = first.advance(2, rows(["c"], revision=3, seen=True))
    third = one.advance(3, rows(["c"], revision=4))

    assert first.ids == ("c000000", "c000001", "c000002")
    assert one.ids == (*first.ids, "a", "b")
    assert other.ids == (*first.ids, "c")
    assert third.ids == (*first.ids, "a", "b", "c")
    assert (one.find("c"), other.find("a"), other.find("c"), third.find("c")) == (None, None, 3, 5)
    assert (other.prototypes[3, 1], one.prototypes[3, 1], third.prototypes[5, 1]) == (3, 2, 4)
    assert (one.is_seen.any(), other.is_seen.tolist()) == (False, [False, False, False, True])
    assert [item.class_id for item in other.page("b", 9)] == ["c", *first.ids]


def test_what_follows_from_a_copy_leaves_the_rows_of_the_original_to_its_own_successor() -> None:
    before = PrototypeTable().advance(4, rows(range(10))).advance(5, {}, ["c000003"])

    copied = before.copied()
    beside = copied.advance(5, rows(["guest"]))
    after = before.advance(6, rows(["host"]))

    assert not np.shares_memory(copied.rows, before.rows)
    assert (copied.revision, copied.ids) == (5, before.ids)
    np.testing.assert_array_equal(copied.prototypes, before.prototypes)
    assert np.shares_memory(after.rows, before.rows)
    assert (beside.ids[:-1], beside.ids[-1]) == (before.ids, "guest")
    assert after.ids[-1] == "host"
    assert after.page("c9", 5)[0].class_id == "host"
    assert PrototypeTable(7).copied().revision == 7


def test_a_class_that_was_written_in_a_lost_successor_can_be_replaced_in_another() -> None:
    first = PrototypeTable().advance(1, rows(range(3)))
    first.advance(2, rows(["a"], revision=2))

    after = first.advance(2, rows(["a"], revision=3)).advance(3, rows(["a"], revision=4))

    assert after.ids == (*first.ids, "a")
    assert after.prototypes[3, 1] == 4


def test_a_prototype_of_another_length_leaves_the_snapshot_whole() -> None:
    before = PrototypeTable().advance(1, rows(range(3)))
    summary = ClassSummary("bad", "BAD", False, 3, 0, 2)

    with pytest.raises(ValueError, match="expected"):
        before.advance(2, {"bad": (summary, np.zeros(4, np.float32))})
    after = before.advance(2, rows(["good"], revision=2))

    assert (after.ids[3], after.find("good"), after.find("bad")) == ("good", 3, None)


def test_snapshots_taken_while_classes_are_registered_are_each_of_one_moment() -> None:
    tables_seen: list[PrototypeTable] = [PrototypeTable().advance(0, rows(["c-1"]))]
    faults: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            table = tables_seen[-1]
            count = len(table)
            if not len(table.ids) == len(table.is_seen) == len(table.prototypes) == count:
                faults.append(f"{count} classes, {len(table.ids)} ids")
            if table.find(table.at(count - 1).class_id) != count - 1:
                faults.append(f"the last of {count} isn't where it is")
            if table.prototypes[-1, 1] != 1:
                faults.append("a row that isn't written yet")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2000):
        tables_seen.append(tables_seen[-1].advance(number + 1, rows([number])))
    done.set()
    reader.join()

    assert faults == []
    assert [len(table) for table in tables_seen] == list(range(1, 2002))


def test_prototypes_of_a_snapshot_can_not_be_written() -> None:
    table = PrototypeTable().advance(1, rows(range(3)))

    with pytest.raises(ValueError, match="read-only"):
        table.rows[0, 0] = 1


def test_a_replaced_class_has_a_new_prototype_and_the_old_snapshot_its_old_one() -> None:
    before = PrototypeTable().advance(1, rows(range(20)))
    after = before.advance(2, rows([9], revision=2))

    assert sorted(after.ids) == sorted(before.ids)
    found = [table.take([table.find("c000009") or 0])[0, 1] for table in (before, after)]
    assert found == [1, 2]


def test_any_course_of_writes_ends_where_a_dictionary_ends(little_room: None) -> None:
    choose = random.Random(7)
    table = PrototypeTable()
    plain: dict[str, Row] = {}
    for revision in range(1, 200):
        written = rows(choose.sample(range(60), choose.randint(0, 12)), revision)
        removed = choose.sample(sorted(plain), min(len(plain), choose.randint(0, 8)))
        table = table.advance(revision, written, removed)
        for class_id in set(removed) - written.keys():
            del plain[class_id]
        plain.update(written)

        assert sorted(table.ids) == sorted(plain)
        assert len(table) == len(plain)
        assert table.revision == revision
        for class_id, (summary, prototype) in plain.items():
            position = table.find(class_id)
            assert position is not None
            assert table.at(position) is summary
            assert (table.prototypes[position] == prototype).all()
            assert table.names[position] == summary.name
        positions = choose.sample(range(len(table)), min(len(table), 5))
        if positions:
            assert (table.take(positions) == table.prototypes[positions]).all()
        expected = dict(zip(table.ids, table.prototypes.tolist(), strict=True))
        scored = zip(table.ids, table.of_classes(table.rows @ [1, 10, 100]), strict=True)
        assert dict(scored) == {i: a + 10 * b + 100 * c for i, (a, b, c) in expected.items()}
        pages = table.page(None, 7) + table.page(sorted(plain)[6], 99) if len(plain) > 7 else []
        assert [item.class_id for item in pages] == (sorted(plain) if pages else [])
        assert len(table.rows) <= len(table) * 8 / 7 + 1


def test_removals_leave_few_rows_that_are_scored_in_vain(little_room: None) -> None:
    table = PrototypeTable().advance(1, rows(range(80)))
    for number in range(72):
        table = table.advance(2 + number, {}, [f"c{number:06d}"])
        assert len(table.rows) * 7 <= len(table) * 8

    assert table.ids == tuple(f"c{number:06d}" for number in range(72, 80))
    for number in range(72, 80):
        table = table.advance(2 + number, {}, [f"c{number:06d}"])
    assert (len(table), table.ids, table.page(None, 5)) == (0, (), [])
    assert table.advance(90, rows(["a"])).ids == ("a",)


def test_seen_flags_follow_the_classes(little_room: None) -> None:
    table = PrototypeTable().advance(0, rows(range(6), seen=True))
    table = table.advance(1, rows(range(6, 20)))

    assert table.is_seen.tolist() == [class_id < "c000006" for class_id in table.ids]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_list_every_class_once_in_the_order_of_ids(little_room: None, limit: int) -> None:
    numbers = list(range(30))
    random.Random(1).shuffle(numbers)
    table = PrototypeTable().advance(1, rows(numbers))

    listed: list[str] = []
    while page := table.page(listed[-1] if listed else None, limit):
        assert len(page) <= limit
        listed += [item.class_id for item in page]

    assert listed == sorted(f"c{number:06d}" for number in range(30))


def test_a_page_may_start_behind_an_id_that_is_gone(little_room: None) -> None:
    table = PrototypeTable().advance(1, rows(["a", "c", "e"]))

    assert [item.class_id for item in table.page("b", 5)] == ["c", "e"]


def test_an_empty_table_has_nothing_and_fails_at_nothing() -> None:
    table = PrototypeTable()

    assert (len(table), table.ids, table.find("a"), table.page(None, 5)) == (0, (), None, [])
    assert table.is_seen.shape == (0,)
