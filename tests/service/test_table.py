"""The table of prototypes: snapshots that share what didn't change."""

import random
from collections.abc import Iterable

import numpy as np
import pytest

from service.registry import table as tables
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
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tables, "BLOCK_ROWS", 8)
    return 8


def test_registering_one_class_copies_one_block_and_shares_the_others() -> None:
    before = PrototypeTable().advance(1, rows(range(10_000)))
    after = before.advance(2, rows(["one-more"], revision=2))

    assert [len(block) for block in before.blocks] == [4096, 4096, 1808]
    assert after.blocks[:2] == before.blocks[:2]
    assert [len(block) for block in after.blocks] == [4096, 4096, 1809]
    assert len(before) == 10_000
    assert before.find("one-more") is None
    assert after.at(after.find("one-more") or 0).name == "ONE-MORE"


def test_a_full_last_block_is_left_alone() -> None:
    before = PrototypeTable().advance(1, rows(range(4096)))
    after = before.advance(2, rows(["x"], revision=2))

    assert after.blocks[0] is before.blocks[0]
    assert len(after.blocks[1]) == 1


def test_prototypes_of_a_snapshot_can_not_be_written() -> None:
    table = PrototypeTable().advance(1, rows(range(3)))

    with pytest.raises(ValueError, match="read-only"):
        table.blocks[0].prototypes[0, 0] = 1


def test_replacing_keeps_the_place_and_changes_one_block(small_blocks: int) -> None:
    before = PrototypeTable().advance(1, rows(range(20)))
    after = before.advance(2, rows([9], revision=2))

    assert after.ids == before.ids
    assert after.blocks[0] is before.blocks[0]
    assert after.blocks[2] is before.blocks[2]
    assert (before.take([9])[0, 1], after.take([9])[0, 1]) == (1, 2)


def test_any_course_of_writes_ends_where_a_dictionary_ends(small_blocks: int) -> None:
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
        assert all(0 < len(block) <= small_blocks for block in table.blocks)


def test_removals_leave_no_crumbs(small_blocks: int) -> None:
    table = PrototypeTable().advance(1, rows(range(80)))
    for number in range(72):
        table = table.advance(2 + number, {}, [f"c{number:06d}"])

    assert sorted(table.ids) == [f"c{number:06d}" for number in range(72, 80)]
    assert len(table.blocks) <= 3


def test_seen_flags_follow_the_classes(small_blocks: int) -> None:
    table = PrototypeTable().advance(0, rows(range(6), seen=True))
    table = table.advance(1, rows(range(6, 20)))

    assert table.is_seen.tolist() == [class_id < "c000006" for class_id in table.ids]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_list_every_class_once_in_the_order_of_ids(small_blocks: int, limit: int) -> None:
    numbers = list(range(30))
    random.Random(1).shuffle(numbers)
    table = PrototypeTable().advance(1, rows(numbers))

    listed: list[str] = []
    while page := table.page(listed[-1] if listed else None, limit):
        assert len(page) <= limit
        listed += [item.class_id for item in page]

    assert listed == sorted(f"c{number:06d}" for number in range(30))


def test_a_page_may_start_behind_an_id_that_is_gone(small_blocks: int) -> None:
    table = PrototypeTable().advance(1, rows(["a", "c", "e"]))

    assert [item.class_id for item in table.page("b", 5)] == ["c", "e"]


def test_an_empty_table_has_nothing_and_fails_at_nothing() -> None:
    table = PrototypeTable()

    assert (len(table), table.ids, table.find("a"), table.page(None, 5)) == (0, (), None, [])
    assert table.is_seen.shape == (0,)
