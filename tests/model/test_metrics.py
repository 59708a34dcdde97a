"""Accuracy: by hand, and gamma against a search over every value that matters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.metrics import (
    ausuc,
    best_gamma,
    class_accuracies,
    confusion,
    czsl,
    gzsl,
    harmonic_mean,
    per_class_accuracy,
    reliability,
    seen_unseen_curve,
)
from model.scoring import softmax


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


def random_problem(seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, truth and which classes are seen."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(7), random.integers(0, 7, 60)])
    logits = random.normal(size=(len(truth), 7)) + 1.5 * np.eye(7)[truth]
    return logits.round(decimals).astype(np.float32), truth, np.arange(7) < 4


def test_class_accuracies_and_confusions_count_what_a_loop_counts() -> None:
    logits, truth, _ = random_problem(0)
    predicted = logits.argmax(axis=1)
    classes = np.array([6, 0, 3])
    found = confusion(truth, predicted, classes)
    for row, true in enumerate(classes):
        of_class = predicted[truth == true]
        assert found[row].tolist() == [int((of_class == other).sum()) for other in classes]
    shares = class_accuracies(truth, predicted, classes)
    assert shares.tolist() == [float(np.mean(predicted[truth == c] == c)) for c in classes]
    assert shares.mean() == pytest.approx(per_class_accuracy(truth, predicted, classes))


@pytest.mark.parametrize("decimals", [1, 8])  # with one decimal, many images share a margin
def test_the_seen_unseen_curve_has_u_and_s_of_every_gamma(decimals: int) -> None:
    logits, truth, is_seen = random_problem(1, decimals)
    margins = np.unique(
        logits[:, is_seen].max(axis=1).astype(float) - logits[:, ~is_seen].max(axis=1)
    )
    margins = margins[np.append(np.diff(margins) > 1e-5, True)]
    between = [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]

    found = np.transpose(seen_unseen_curve(logits, truth, is_seen))

    points = {(round(u, 9), round(s, 9)) for u, s in found.tolist()}
    for gamma in between:
        u, s, _ = gzsl(logits, truth, is_seen, float(gamma))
        assert (round(u, 9), round(s, 9)) in points
    assert found[0, 0] == found[-1, 1] == 0
    assert (np.diff(found[:, 0]) >= 0).all()
    assert (np.diff(found[:, 1]) <= 0).all()


def test_ausuc_is_the_area_under_many_gammas() -> None:
    logits, truth, is_seen = random_problem(2)
    points = [gzsl(logits, truth, is_seen, float(g))[:2] for g in np.linspace(-9, 9, 4001)]
    u, s = np.transpose(points)
    area = float(np.sum((u[1:] - u[:-1]) * (s[1:] + s[:-1]) / 2))
    assert ausuc(logits, truth, is_seen) == pytest.approx(area, abs=2e-3)


def test_ausuc_of_perfect_scores_is_one_and_of_reversed_ones_zero() -> None:
    truth, is_seen = np.array([0, 1, 2, 3]), np.array([True, True, False, False])
    perfect = np.eye(4, dtype=np.float32)
    assert ausuc(perfect, truth, is_seen) == pytest.approx(1)
    assert ausuc(-perfect, truth, is_seen) == 0


def test_the_calibration_error_is_the_mean_distance_of_the_bins() -> None:
    logits, truth, _ = random_problem(3)
    probabilities = softmax(2 * logits)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth

    found = reliability(probabilities, truth, bins=5)

    expected = 0.0
    for number in range(5):
        rows = (sure > number / 5) & (sure <= (number + 1) / 5)
        assert found.images[number] == rows.sum()
        if rows.any():
            assert found.accuracy[number] == pytest.approx(right[rows].mean())
            assert found.confidence[number] == pytest.approx(sure[rows].mean())
            expected += rows.mean() * abs(right[rows].mean() - sure[rows].mean())
    assert found.error == pytest.approx(expected)


def test_answers_that_are_sure_and_right_have_no_calibration_error() -> None:
    sure = np.eye(3, dtype=np.float32)
    assert reliability(sure, np.arange(3)).error == 0
    assert reliability(sure, np.array([1, 2, 0])).error == 1
    with pytest.raises(ValueError, match="no image"):
        reliability(np.empty((0, 3), np.float32), np.array([], np.int64))
