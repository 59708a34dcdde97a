"""Scores: each against the formula written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.scoring import calibrated_stacking, cosine_logits, softmax, top_k

PARTS = [0.3, 0.4, 0.29, 0.008, 0.001, 0.001]


def unit_rows(seed: int, rows: int, columns: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_logits_are_cosines_over_the_temperature() -> None:
    embedding, prototypes = unit_rows(0, 3, 5), unit_rows(1, 4, 5)
    logits = cosine_logits(embedding, prototypes, 0.25)
    for b in range(3):
        for c in range(4):
            cosine = math.fsum(float(embedding[b, d]) * float(prototypes[c, d]) for d in range(5))
            assert logits[b, c] == pytest.approx(cosine / 0.25, abs=1e-5)
    assert logits.dtype == np.float32


@pytest.mark.parametrize("shapes", [((3, 5), (4, 6)), ((5,), (4, 5)), ((3, 5), (5,))])
def test_logits_of_shapes_that_do_not_fit_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, D\) and \(C, D\)"):
        cosine_logits(np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32), 1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        cosine_logits(unit_rows(0, 1, 2), unit_rows(0, 1, 2), temperature)


def test_calibrated_stacking_lowers_seen_classes_only_and_not_in_place() -> None:
    logits = np.array([[1, 2, 3], [4, -np.inf, 6]], np.float32)
    before = logits.copy()
    stacked = calibrated_stacking(logits, np.array([True, True, False]), 0.5)
    assert stacked.tolist() == [[0.5, 1.5, 3], [3.5, -np.inf, 6]]
    assert stacked.dtype == np.float32
    assert (logits == before).all()


@pytest.mark.parametrize("is_seen", [[True], [True, False, True, False], [[True, False, True]]])
def test_calibrated_stacking_needs_one_flag_per_column(is_seen: list) -> None:
    with pytest.raises(ValueError, match="one entry per column"):
        calibrated_stacking(np.zeros((2, 3), np.float32), np.array(is_seen), 1.0)


def test_softmax_is_the_formula_and_leaves_out_what_is_no_candidate() -> None:
    logits = np.array([[1.0, 2.0, -np.inf], [0.0, 0.0, 0.0]], np.float32)
    first = [math.exp(1) / (math.exp(1) + math.exp(2)), math.exp(2) / (math.exp(1) + math.exp(2))]
    np.testing.assert_allclose(softmax(logits), [[*first, 0], [1 / 3] * 3], rtol=1e-6)


def test_softmax_of_huge_logits_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([1e30, 1e30, -1e30], np.float32)), [0.5, 0.5, 0])


@pytest.mark.parametrize("row", [[-np.inf, -np.inf], [np.nan, 1.0], [np.inf, 1.0]])
def test_softmax_without_a_finite_highest_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="no finite"):
        softmax(np.array([[0.0, 1.0], row], np.float32))


@given(
    scores=st.lists(st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 3.0]), min_size=1, max_size=30),
    k=st.integers(1, 40),
)
def test_top_k_is_the_head_of_a_stable_sort(scores: list[float], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert top_k(np.array(scores, np.float32), k).tolist() == expected


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4000), k=st.integers(1, 20))
def test_top_k_of_many_is_the_head_of_a_stable_sort(seed: int, count: int, k: int) -> None:
    random = np.random.default_rng(seed)
    # Few different values: ties within and across what is looked at together.
    scores = random.choice([-np.inf, -2.0, 0.0, 0.5, 3.0, 7.0], count, p=PARTS).astype(np.float32)
    expected = sorted(range(count), key=lambda i: (-scores[i], i))[:k]
    assert top_k(scores, k).tolist() == expected
    scores = random.normal(size=count).astype(np.float32)
    assert top_k(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()


@pytest.mark.parametrize(
    ("scores", "k"), [([1.0], 0), ([1.0], -1), ([1.0, np.nan], 1), ([[1.0]], 1)]
)
def test_top_k_refuses_what_has_no_order(scores: list, k: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        top_k(np.array(scores, np.float32), k)
