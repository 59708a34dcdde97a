"""What validation classes decide besides the network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.read import read
from model.runtime.base import F32
from model.training.calibration import (
    FALSE_ALARMS,
    auroc,
    calibrate,
    rejection,
    with_photographs,
)
from model.training.selection import ValidationTask

TRAINED, HELD_OUT, IMAGES, DIM = 6, 6, 40, 24
GAMMA, TEMPERATURE = 0.05, 0.1


def unit(rows: np.ndarray) -> F32:
    result: F32 = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return result


@pytest.fixture
def task(shapes_dir: Path) -> ValidationTask:
    classes = TRAINED + HELD_OUT
    truth = np.repeat(np.arange(classes), IMAGES)
    return ValidationTask(
        data=read(shapes_dir),
        classes=tuple(range(classes)),
        trained=tuple(range(TRAINED)),
        images=np.arange(len(truth)),
        truth=truth,
        is_seen=np.arange(classes) < TRAINED,
    )


def world(task: ValidationTask, sheet_error: float, noise: float = 0.6) -> tuple[F32, F32]:
    """Photographs around their classes' true places; sheets that are off by `sheet_error`."""
    random = np.random.default_rng(0)
    places = unit(random.normal(size=(len(task.is_seen), DIM)))
    shift = random.normal(size=places.shape) / DIM**0.5
    prototypes = unit(places + sheet_error * shift * ~task.is_seen[:, None])
    spread = random.normal(size=(len(task.truth), DIM)) / DIM**0.5
    return unit(places[task.truth] + noise * spread), prototypes


def test_the_threshold_calls_a_twentieth_of_the_known_photographs_unknown(
    task: ValidationTask,
) -> None:
    embedding, prototypes = world(task, 0.8)
    found = calibrate(embedding, prototypes, task, GAMMA, TEMPERATURE)
    logits = embedding @ prototypes.T / TEMPERATURE
    logits[:, :TRAINED] -= GAMMA / TEMPERATURE
    called_unknown = logits.max(axis=1) < found.known_threshold
    assert called_unknown.mean() == pytest.approx(FALSE_ALARMS, abs=1 / len(embedding))


def test_the_worse_the_sheets_the_less_they_count_for_beside_photographs(
    task: ValidationTask,
) -> None:
    chosen = [
        calibrate(*world(task, error, noise=2.0), task, GAMMA, TEMPERATURE).sheet_counts
        for error in (0.1, 3.0)
    ]
    assert chosen[1] < chosen[0]


def test_photographs_help_where_sheets_are_off_and_leave_seen_classes_alone(
    task: ValidationTask,
) -> None:
    embedding, prototypes = world(task, 2.0)
    before = prototypes.copy()
    none, five = (
        with_photographs(embedding, prototypes, task, GAMMA, count, 2.0, 0) for count in (0, 5)
    )
    assert five.czsl > none.czsl + 0.05
    assert five.h > none.h
    assert five.merit == (five.czsl + five.h) / 2
    np.testing.assert_array_equal(prototypes, before)


def test_without_photographs_the_scores_are_those_of_the_sheets_on_the_photographs_that_are_left(
    task: ValidationTask,
) -> None:
    embedding, prototypes = world(task, 0.8)
    found = with_photographs(embedding, prototypes, task, GAMMA, 0, 2.0, 0)
    cosines = embedding @ prototypes.T
    alone = TRAINED + cosines[:, TRAINED:].argmax(axis=1)
    of_classes = [(alone[task.truth == c] == c).mean() for c in range(TRAINED, 12)]
    # 16 of each class's 40 photographs are set aside.
    assert found.czsl == pytest.approx(np.mean(of_classes), abs=0.1)
    stacked = cosines - GAMMA * task.is_seen
    best = stacked.argmax(axis=1)
    seen = [(best[task.truth == c] == c).mean() for c in range(TRAINED)]
    assert found.s == pytest.approx(np.mean(seen))


def test_classes_with_few_photographs_keep_half_of_them_to_be_scored(task: ValidationTask) -> None:
    kept = np.sort(np.concatenate([np.flatnonzero(task.truth == c)[:3] for c in range(12)]))
    embedding, prototypes = world(task, 0.8)
    few = replace(task, truth=task.truth[kept], images=task.images[kept])
    found = with_photographs(embedding[kept], prototypes, few, GAMMA, 5, 2.0, 0)
    assert 0 <= found.u <= 1


def test_auroc_counts_the_pairs_in_order(task: ValidationTask) -> None:
    random = np.random.default_rng(0)
    higher = random.integers(0, 6, 30).astype(np.float32)
    lower = random.integers(-2, 4, 20).astype(np.float32)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in higher for b in lower]
    assert auroc(higher, lower) == pytest.approx(np.mean(pairs))


def test_photographs_of_classes_that_are_not_there_are_told_from_others(
    task: ValidationTask,
) -> None:
    clear = rejection(*world(task, 0.2, noise=0.3), task, GAMMA, 0)
    blurred = rejection(*world(task, 0.2, noise=2.5), task, GAMMA, 0)
    assert clear.auroc > 0.95
    assert clear.caught > 0.8
    assert blurred.auroc < clear.auroc
    others_hidden = rejection(*world(task, 0.2, noise=2.5), task, GAMMA, 1)
    assert others_hidden != blurred
