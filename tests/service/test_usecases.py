"""Ranking, candidates, and the check of what is to be registered."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bundle import Bundle
from service.errors import ClassExists, NameTaken, NoCandidates, SheetRefused, UnknownClass
from service.registry.records import ClassSummary, NewClass
from service.registry.table import PrototypeTable
from service.usecases.checking import Draft, checked, checked_batch
from service.usecases.ranking import Scope, candidates, rank, strongest

SHEET = {"has_wing": "red"}


@pytest.fixture
def table() -> PrototypeTable:
    return table_of_20()


def table_of_20() -> PrototypeTable:
    """20 classes, every third one seen; two rows between theirs are of no class any more."""
    random = np.random.default_rng(3)
    rows = {}
    for number in range(20):
        prototype = random.normal(size=5).astype(np.float32)
        summary = ClassSummary(f"c{number:02d}", f"C{number}", number % 3 == 0, 5, 0, 1)
        rows[summary.class_id] = (summary, prototype / np.linalg.norm(prototype))
    removed = ClassSummary("x", "X", True, 5, 0, 1)
    replaced = ClassSummary("c05", "before", True, 5, 0, 1)
    idle = {"x": (removed, rows["c00"][1]), "c05": (replaced, rows["c06"][1])}
    table = PrototypeTable().advance(1, rows | idle)
    return table.advance(2, {"c05": rows["c05"]}, ["x"])


@given(
    gamma=st.floats(-20, 20),
    top_k=st.integers(1, 30),
    chosen=st.one_of(st.none(), st.sets(st.integers(0, 19), min_size=1)),
    seed=st.integers(0, 1000),
)
def test_ranks_are_those_of_the_formula_written_out(
    gamma: float, top_k: int, chosen: set[int] | None, seed: int
) -> None:
    table = table_of_20()
    embedding = np.random.default_rng(seed).normal(size=5).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    positions = None if chosen is None else np.array(sorted(chosen))

    found = rank(embedding, table, positions, 0.1, gamma, top_k).predictions

    scores = {}
    for position, prototype in enumerate(table.prototypes):
        if chosen is None or position in chosen:
            cosine = math.fsum(
                float(a) * float(b) for a, b in zip(embedding, prototype, strict=True)
            )
            scores[table.ids[position]] = cosine / 0.1
    calibrated = {key: s - gamma * (int(key[1:]) % 3 == 0) for key, s in scores.items()}
    total = math.fsum(math.exp(value) for value in calibrated.values())
    expected = sorted(calibrated, key=lambda key: -calibrated[key])[:top_k]
    assert len(found) == len(expected)
    for item, key in zip(found, expected, strict=True):
        assert item.score == pytest.approx(scores[item.class_id], abs=1e-4)
        assert calibrated[item.class_id] == pytest.approx(calibrated[key], abs=1e-4)
        probability = math.exp(calibrated[item.class_id]) / total
        assert item.probability == pytest.approx(probability, rel=1e-3, abs=1e-6)
        assert item.seen == (int(item.class_id[1:]) % 3 == 0)


@pytest.mark.parametrize("few", [1, 3, 9, 30])
@pytest.mark.parametrize("scope", ["all", "seen", "unseen"])
def test_ranks_among_thousands_are_those_of_a_full_sort(scope: Scope, few: int) -> None:
    random = np.random.default_rng(few)
    prototypes = random.normal(size=(3000, 7)).astype(np.float32)
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    rows = {
        f"c{number}": (ClassSummary(f"c{number}", f"C{number}", number % 2 == 0, 5, 0, 1), row)
        for number, row in enumerate(prototypes)
    }
    table = PrototypeTable().advance(1, rows).advance(2, {}, [f"c{n}" for n in range(10, 90)])
    embedding = prototypes[17]  # of a class that was removed
    chosen = candidates(table, None, scope)

    found = rank(embedding, table, chosen, 0.2, 0.7, few).predictions

    scores = {
        key: float(row.astype(np.float64) @ embedding.astype(np.float64)) / 0.2
        for key, (_, row) in rows.items()
        if not 10 <= int(key[1:]) < 90
        and (scope == "all" or (int(key[1:]) % 2 == 0) == (scope == "seen"))
    }
    calibrated = {key: s - 0.7 * (int(key[1:]) % 2 == 0) for key, s in scores.items()}
    expected = sorted(calibrated, key=lambda key: -calibrated[key])[:few]
    total = math.fsum(map(math.exp, calibrated.values()))
    assert [item.class_id for item in found] == expected
    for item in found:
        assert item.score == pytest.approx(scores[item.class_id], abs=1e-5)
        expected_probability = math.exp(calibrated[item.class_id]) / total
        assert item.probability == pytest.approx(expected_probability, rel=1e-4)


def test_candidates_are_what_ids_and_scope_have_in_common(table: PrototypeTable) -> None:
    def ids(*question: Any) -> list[str]:
        positions = candidates(table, *question)
        assert positions is not None
        return [table.at(int(position)).class_id for position in positions]

    assert candidates(table, None, "all") is None
    assert sorted(ids(None, "seen")) == [f"c{number:02d}" for number in range(0, 20, 3)]
    assert ids(("c07", "c03", "c07"), "all") == ["c07", "c03"]
    assert ids(("c07", "c03"), "unseen") == ["c07"]


def test_an_unknown_candidate_and_an_empty_choice_are_told_apart(table: PrototypeTable) -> None:
    with pytest.raises(UnknownClass):
        candidates(table, ("c01", "nope"), "all")
    for class_ids, scope in ((("c01",), "seen"), ((), "all"), (("c00",), "unseen")):
        with pytest.raises(NoCandidates):
            candidates(table, class_ids, scope)  # type: ignore[arg-type]
    with pytest.raises(NoCandidates):
        candidates(PrototypeTable(), None, "all")


def test_the_strongest_attributes_come_first() -> None:
    found = strongest(np.array([3, 50, 7], np.float32), ("a", "b", "c"), 2)

    assert found == [("b", 50.0), ("c", 7.0)]


@pytest.fixture(scope="module")
def check(bundle: Bundle) -> Callable[..., NewClass]:
    def run(**fields: Any) -> NewClass:
        return checked(Draft(**{"name": "Kite", "attributes": SHEET, **fields}), _space(bundle))

    return run


def _space(bundle: Bundle) -> Any:
    return bundle.manifest.attributes


def test_a_class_without_an_id_gets_one_of_its_own(check: Callable[..., NewClass]) -> None:
    first, second = check(), check()

    assert first.class_id != second.class_id
    assert len(first.class_id) == 36
    assert (first.given, first.filled) == (3, 6)


@pytest.mark.parametrize("name", ["K", "Kite", "ö" * 200, "Rotmilan (Milvus milvus)", "鳶", "🪁"])
def test_names_that_people_use_are_taken(check: Callable[..., NewClass], name: str) -> None:
    assert check(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 201, "a\nb", "a\x00", "\x7f", "\u2028", "\ud800", 5, None, ["a"]]
)
def test_other_names_are_refused(check: Callable[..., NewClass], name: Any) -> None:
    with pytest.raises(SheetRefused) as refused:
        check(name=name)
    assert refused.value.code == "name_invalid"


@pytest.mark.parametrize("class_id", ["a", "A-z_0.9", "x" * 100, "..."])
def test_ids_of_the_allowed_characters_are_taken(
    check: Callable[..., NewClass], class_id: str
) -> None:
    assert check(class_id=class_id).class_id == class_id


@pytest.mark.parametrize("class_id", ["", ".", "..", "x" * 101, "a b", "a/b", "ä", "a\n", 5, True])
def test_other_ids_are_refused(check: Callable[..., NewClass], class_id: Any) -> None:
    with pytest.raises(SheetRefused) as refused:
        check(class_id=class_id)
    assert refused.value.code == "class_id_invalid"


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ([], "metadata_invalid"),
        ("text", "metadata_invalid"),
        ({"a": float("nan")}, "metadata_invalid"),
        ({"a": [float("inf")]}, "metadata_invalid"),
        ({"a": _nested(100_000)}, "metadata_invalid"),
        ({"a": _nested(63)}, "metadata_invalid"),
        ({"a": [_nested(62)]}, "metadata_invalid"),
        ({"a": "x" * 16_384}, "metadata_too_large"),
    ],
    ids=["list", "text", "nan", "infinite", "endless", "deep", "deep list", "large"],
)
def test_metadata_that_can_not_be_kept_is_refused(
    check: Callable[..., NewClass], metadata: Any, code: str
) -> None:
    with pytest.raises(SheetRefused) as refused:
        check(metadata=metadata)
    assert refused.value.code == code


def test_metadata_may_be_64_objects_deep(check: Callable[..., NewClass]) -> None:
    assert check(metadata={"a": _nested(62)}).metadata == {"a": _nested(62)}


def test_two_of_a_batch_with_one_id_or_name_are_refused(bundle: Bundle) -> None:
    first = Draft("Kite", SHEET, "a")

    with pytest.raises(ClassExists) as exists:
        checked_batch([first, Draft("Hawk", SHEET, "a")], _space(bundle))
    with pytest.raises(NameTaken) as taken:
        checked_batch([first, Draft("Hawk", SHEET), Draft("Kite", SHEET)], _space(bundle))

    assert (exists.value.index, taken.value.index) == (1, 2)


def test_an_error_in_a_batch_says_where(bundle: Bundle) -> None:
    drafts = [Draft("Kite", SHEET), Draft("Hawk", [1.0])]

    with pytest.raises(SheetRefused, match=r"classes\[1\]") as refused:
        checked_batch(drafts, _space(bundle))

    assert (refused.value.code, refused.value.index) == ("attribute_count", 1)
