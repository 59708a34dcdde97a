"""What is chosen on the validation classes, and how."""

from dataclasses import replace

import numpy as np
import pytest

from model.data.read import read
from model.data.types import ZeroShotData
from model.metrics import best_gamma
from model.training.selection import NOISE, Choice, ValidationTask, _gamma, settled

SEEN, UNSEEN, EACH = 6, 12, 40


def task(data: ZeroShotData, unseen: int) -> ValidationTask:
    """12 validation classes of a data set that has so many unseen ones."""
    truth = np.repeat(np.arange(SEEN + UNSEEN), EACH)
    return ValidationTask(
        data=replace(data, unseen=tuple(range(unseen))),
        classes=tuple(range(SEEN + UNSEEN)),
        trained=tuple(range(SEEN)),
        images=np.arange(len(truth)),
        truth=truth,
        is_seen=np.arange(SEEN + UNSEEN) < SEEN,
    )


@pytest.fixture
def data(shapes_dir: object) -> ZeroShotData:
    return read(shapes_dir)  # type: ignore[arg-type]


@pytest.fixture
def cosines() -> np.ndarray:
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(SEEN + UNSEEN), EACH)
    scores = random.normal(size=(len(truth), SEEN + UNSEEN)).astype(np.float32)
    scores[np.arange(len(truth)), truth] += 2
    scores[:, :SEEN] += 1
    return scores


@pytest.mark.parametrize("unseen", [0, 1, UNSEEN, 50])
def test_gamma_is_the_best_one_where_no_fewer_classes_can_be_drawn(
    data: ZeroShotData, cosines: np.ndarray, unseen: int
) -> None:
    whole = task(data, unseen)
    assert _gamma(cosines, whole) == best_gamma(cosines, whole.truth, whole.is_seen)


def test_the_fewer_unseen_classes_a_data_set_has_the_more_gamma_they_need(
    data: ZeroShotData, cosines: np.ndarray
) -> None:
    # The best of a few random scores is lower than the best of many.
    gammas = [_gamma(cosines, task(data, unseen)) for unseen in (2, 5, UNSEEN)]
    assert gammas[0] > gammas[1] > gammas[2]


def choice(merit: float, epochs: int, weight: float) -> Choice:
    return Choice(1.0, 1.0, 0.1, 0.05, merit, merit, epochs, weight)


def test_within_noise_the_longest_training_and_then_the_largest_weight_is_taken() -> None:
    best = choice(0.80, 2, 0.2)
    near = [choice(0.80 - 0.9 * NOISE, 5, weight) for weight in (0.2, 0.5, 0.35)]
    far = [choice(0.80 - 1.1 * NOISE, epochs, 1.0) for epochs in (5, 6)]
    assert settled([best, *near, *far]) == near[1]
    assert settled([best, *far]) == best
