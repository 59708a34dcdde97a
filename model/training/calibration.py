"""What validation classes decide besides the network: from which score on an image's class is
known, and what a sheet counts for beside photographs.

Everything here looks at embeddings of photographs by a network that has never seen the validation
classes, as it will never have seen the classes that are registered.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model import photographs
from model.metrics import harmonic_mean, per_class_accuracy
from model.runtime.base import F32
from model.scoring import calibrated_stacking
from model.training.selection import ValidationTask

FALSE_ALARMS = 0.05  # of the photographs of known classes, those that are called unknown
SHEET_COUNTS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # candidates, in photographs
COUNTS = (1, 2, 5)  # photographs of a class, over which the best candidate is chosen
DRAWS = 3


@dataclass(frozen=True)
class Calibration:
    """`known_threshold` is in units of the logits after gamma."""

    known_threshold: float
    false_alarms: float
    sheet_counts: float
    photographs: int  # that it was found on

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(
    embedding: F32, prototypes: F32, task: ValidationTask, gamma: float, temperature: float
) -> Calibration:
    """Choose both on the validation classes.

    Args:
        embedding: (N, D), unit rows, of the task's images.
        prototypes: (C, D), of its classes.
        gamma: in units of cosines.
    """
    nearest = calibrated_stacking(embedding @ prototypes.T, task.is_seen, gamma).max(axis=1)
    best = max(
        SHEET_COUNTS,
        key=lambda counts: np.mean(
            [
                with_photographs(embedding, prototypes, task, gamma, count, counts, draw).merit
                for count in COUNTS
                for draw in range(DRAWS)
            ]
        ),
    )
    threshold = float(np.quantile(nearest, FALSE_ALARMS)) / temperature
    return Calibration(threshold, FALSE_ALARMS, best, len(embedding))


@dataclass(frozen=True)
class PhotographScores:
    czsl: float
    u: float
    s: float
    h: float

    @property
    def merit(self) -> float:
        """What is maximised."""
        return (self.czsl + self.h) / 2


def with_photographs(
    embedding: F32,
    prototypes: F32,
    task: ValidationTask,
    gamma: float,
    count: int,
    sheet_counts: float,
    draw: int,
) -> PhotographScores:
    """Scores when each class that is not trained on has `count` photographs besides its sheet.

    The same photographs are set aside whatever `count` is (16 of a class, or half of them if that
    is fewer), so that all counts are scored on the same others.
    """
    random = np.random.default_rng(draw)
    rows, share = prototypes.copy(), task.is_seen.astype(np.float32)
    scored = np.ones(len(embedding), np.bool_)
    unseen = np.flatnonzero(~task.is_seen)
    for column in unseen:
        own = random.permutation(np.flatnonzero(task.truth == column))
        aside = own[: min(photographs.LARGEST_COUNT, len(own) // 2)]
        scored[aside] = False
        given = embedding[aside[:count]]
        if len(given):
            share[column] = photographs.familiarity(len(given), sheet_counts)
            mean = photographs.mean_of(given)
            rows[column] = photographs.blended(rows[column], mean, float(share[column]))
    scores = calibrated_stacking(embedding[scored] @ rows.T, share, gamma)
    truth = task.truth[scored]
    is_unseen = ~task.is_seen[truth]
    alone = unseen[scores[is_unseen][:, unseen].argmax(axis=1)]
    best = scores.argmax(axis=1)
    czsl = per_class_accuracy(truth[is_unseen], alone, unseen)
    u = per_class_accuracy(truth[is_unseen], best[is_unseen], unseen)
    s = per_class_accuracy(truth[~is_unseen], best[~is_unseen], np.flatnonzero(task.is_seen))
    return PhotographScores(czsl, u, s, harmonic_mean(u, s))


@dataclass(frozen=True)
class Rejection:
    """How well unknown classes are told from known ones."""

    auroc: float
    caught: float  # share of the unknown ones' photographs at `FALSE_ALARMS`


def rejection(
    embedding: F32, prototypes: F32, task: ValidationTask, gamma: float, draw: int
) -> Rejection:
    """Hide half of the classes that are not trained on: their photographs are of unknown ones."""
    unseen = np.flatnonzero(~task.is_seen)
    hidden = np.random.default_rng(draw).choice(unseen, len(unseen) // 2, replace=False)
    there = np.setdiff1d(np.arange(len(prototypes)), hidden)
    scores = calibrated_stacking(embedding @ prototypes[there].T, task.is_seen[there], gamma)
    nearest, unknown = scores.max(axis=1), np.isin(task.truth, hidden)
    return Rejection(
        auroc(nearest[~unknown], nearest[unknown]),
        float((nearest[unknown] < np.quantile(nearest[~unknown], FALSE_ALARMS)).mean()),
    )


def auroc(higher: F32, lower: F32) -> float:
    """The chance that one of the first is above one of the second; ties count half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))
