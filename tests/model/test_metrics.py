"""Accuracy: by hand, and gamma against a search over every value that matters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.metrics import best_gamma, czsl, gzsl, harmonic_mean, per_class_accuracy


def test_every_class_counts_the_same_however_many_images_it_has() -> None:
    truth = np.array([0, 0, 0, 0, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0])
    assert per_class_accuracy(truth, predicted, np.array([0, 1, 2])) == pytest.approx(
        (3 / 4 + 1 + 0) / 3
    )


def test_only_the_given_classes_count() -> None:
    truth, predicted = np.array([0, 1, 5]), np.array([1, 1, 5])
    assert per_class_accuracy(truth, predicted, np.array([5, 1])) == 1
    assert per_class_accuracy(truth, predicted, np.array([0])) == 0


@pytest.mark.parametrize("classes", [[0, 1, 2], [7]])
def test_a_class_without_an_image_has_no_accuracy(classes: list[int]) -> None:
    with pytest.raises(ValueError, match="no image"):
        per_class_accuracy(np.array([0, 1]), np.array([0, 1]), np.array(classes))


@pytest.mark.parametrize(
    ("u", "s", "h"), [(0.5, 0.5, 0.5), (1, 0, 0), (0, 0, 0), (0.25, 0.75, 0.375)]
)
def test_the_harmonic_mean_is_low_where_either_is(u: float, s: float, h: float) -> None:
    assert harmonic_mean(u, s) == pytest.approx(h)


def test_czsl_has_only_unseen_classes_as_candidates() -> None:
    logits = np.array([[9, 1, 2], [9, 3, 2], [9, 2, 3]], np.float32)  # column 0 is seen
    truth = np.array([1, 1, 2])
    assert czsl(logits, truth, np.array([1, 2])) == pytest.approx((1 / 2 + 1) / 2)
    assert czsl(logits, truth, np.array([2, 1])) == pytest.approx((1 / 2 + 1) / 2)


def test_gzsl_trades_seen_for_unseen_as_gamma_grows() -> None:
    is_seen = np.array([True, True, False])
    logits = np.array([[3, 0, 1], [0, 3, 2.5], [2, 0, 1]], np.float32)
    truth = np.array([0, 1, 2])
    assert gzsl(logits, truth, is_seen, 0.0) == (0, 1, 0)
    assert gzsl(logits, truth, is_seen, 0.75) == (0, 0.5, 0)
    assert gzsl(logits, truth, is_seen, 1.5) == pytest.approx((1, 0.5, 2 / 3))
    assert gzsl(logits, truth, is_seen, 9.0) == (1, 0, 0)


def test_the_best_gamma_is_the_middle_of_the_widest_best_interval() -> None:
    # Margins: seen images 2 and 6, the unseen one 1; H is 1 for gamma in (1, 2).
    is_seen = np.array([True, False])
    logits = np.array([[2, 0], [6, 0], [1, 0]], np.float32)
    truth = np.array([0, 0, 1])
    assert best_gamma(logits, truth, is_seen) == 1.5
    assert gzsl(logits, truth, is_seen, 1.5) == (1, 1, 1)


def test_an_image_that_no_gamma_helps_does_not_cut_the_interval() -> None:
    is_seen = np.array([True, True, False])
    logits = np.array([[6, 0, 0], [0, 6, 0], [0, 0, 0], [3, 0, 0]], np.float32)
    truth = np.array([0, 1, 2, 1])  # the last is wrong below its margin of 3 and above it
    assert best_gamma(logits, truth, is_seen) == 3.0


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_gamma_and_gzsl_need_images_of_both_kinds(truth: list[int]) -> None:
    arguments = np.zeros((2, 2), np.float32), np.array(truth), np.array([True, False])
    with pytest.raises(ValueError, match="both"):
        best_gamma(*arguments)
    with pytest.raises(ValueError, match="both"):
        gzsl(*arguments, 0.0)


def test_gamma_is_zero_where_nothing_helps() -> None:
    logits = np.array([[1, 5, 0, 2], [0, 1, 2, 5]], np.float32)
    truth = np.array([0, 2])
    assert best_gamma(logits, truth, np.array([True, True, False, False])) == 0


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), decimals=st.sampled_from([1, 8]))
def test_no_other_gamma_is_better(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 8))
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, 30)])
    is_seen = np.arange(classes) < max(1, classes // 2)
    logits = random.normal(size=(len(truth), classes)) + 2 * np.eye(classes)[truth]
    logits = logits.round(decimals).astype(np.float32)
    margins = logits[:, is_seen].max(axis=1) - logits[:, ~is_seen].max(axis=1)
    others = [gzsl(logits, truth, is_seen, float(m) + d)[2] for m in margins for d in (-0.01, 0.01)]
    found = gzsl(logits, truth, is_seen, best_gamma(logits, truth, is_seen))[2]
    assert found >= max(others) - 1e-9
