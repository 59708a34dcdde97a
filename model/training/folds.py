"""Measurement that can't fool us: seen classes take turns at playing unseen.

The seen classes are dealt into folds; in each, the fold's classes are pseudo-unseen and everything
is trained on the others. What has to be chosen (ridges, gamma, epochs) is chosen for each fold on
the *other* folds. No photograph of a test set is read. C classes of a fold, N scored images.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.data.types import ZeroShotData
from model.metrics import ausuc, harmonic_mean
from model.runtime.base import F32
from model.training.selection import ValidationTask, held_out_task

GAMMAS = np.linspace(-1.0, 8.0, 181)  # in standard deviations of a fold's margins
SAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles

Accuracies = dict[str, float]  # class name -> share of its images that were right


def folds(data: ZeroShotData, count: int, seed: int) -> list[ValidationTask]:
    """`count` tasks whose pseudo-unseen classes partition the seen classes.

    Raises:
        ValueError: fewer than two folds, or folds of fewer than two classes.
    """
    if not 2 <= count <= len(data.seen) // 2:
        raise ValueError(f"{count} folds of {len(data.seen)} classes; expected 2 or more of each")
    order = np.random.default_rng(seed).permutation(np.array(data.seen))
    return [held_out_task(data, tuple(map(int, order[start::count]))) for start in range(count)]


@dataclass(frozen=True, eq=False)
class FoldScores:
    """How one setting did in one fold, at every gamma of a grid."""

    czsl: Accuracies  # of the pseudo-unseen classes, among themselves
    u: NDArray[np.float64]  # (gammas, pseudo-unseen classes)
    s: NDArray[np.float64]  # (gammas, trained classes)
    unseen: tuple[str, ...]
    trained: tuple[str, ...]
    ausuc: float

    @classmethod
    def of(cls, scores: F32, task: ValidationTask) -> Self:
        """
        Args:
            scores: (N, C), of `task.images` for `task.classes`, in any unit.
        """
        names = np.array([task.data.class_names[c] for c in task.classes])
        is_seen, truth = task.is_seen, task.truth
        columns = np.arange(len(names))
        best_seen = columns[is_seen][scores[:, is_seen].argmax(axis=1)]
        best_unseen = columns[~is_seen][scores[:, ~is_seen].argmax(axis=1)]
        rows = np.arange(len(truth))
        margin = scores[rows, best_seen] - scores[rows, best_unseen]
        gammas = GAMMAS * margin.std()
        predicted = np.where(margin[None] > gammas[:, None], best_seen, best_unseen)
        share = _shares(predicted == truth, truth, len(names))  # (gammas, C)
        alone = _shares((best_unseen == truth)[None], truth, len(names))[0]
        unseen = names[~is_seen]
        return cls(
            dict(zip(unseen.tolist(), alone[~is_seen].tolist(), strict=True)),
            share[:, ~is_seen],
            share[:, is_seen],
            tuple(unseen.tolist()),
            tuple(names[is_seen].tolist()),
            ausuc(scores, truth, is_seen),
        )

    def h(self) -> NDArray[np.float64]:
        """(gammas,)"""
        return _harmonic(self.u.mean(axis=1), self.s.mean(axis=1))


@dataclass(frozen=True)
class Result:
    """One system over all folds of one seed: the accuracy of each class, and two summaries."""

    czsl: Accuracies
    u: Accuracies
    s: Accuracies  # mean over the folds in which the class was trained on
    ausuc: float

    @classmethod
    def chosen(cls, found: Sequence[Mapping[Hashable, FoldScores]]) -> Self:
        """Choose for each fold the setting and the gamma that are best in the others.

        Args:
            found: for each fold, setting -> its scores; the same settings in all of them.
        """
        merit = {
            key: np.array([scores[key].h() for scores in found]) for key in found[0]
        }  # (folds, gammas) each
        alone = {
            key: np.array([np.mean(list(scores[key].czsl.values())) for scores in found])
            for key in found[0]
        }
        czsl: Accuracies = {}
        u: Accuracies = {}
        s: dict[str, list[float]] = {}
        areas = []
        for number, scores in enumerate(found):
            others = [other for other in range(len(found)) if other != number]
            curves = {key: values[others].mean(axis=0) for key, values in merit.items()}
            key = max(curves, key=lambda k: float(curves[k].max() + alone[k][others].mean()))
            at = int(curves[key].argmax())
            best = scores[key]
            czsl |= best.czsl
            u |= dict(zip(best.unseen, best.u[at].tolist(), strict=True))
            for name, value in zip(best.trained, best.s[at].tolist(), strict=True):
                s.setdefault(name, []).append(value)
            areas.append(best.ausuc)
        means = {name: float(np.mean(values)) for name, values in s.items()}
        return cls(czsl, u, means, float(np.mean(areas)))

    def summary(self) -> dict[str, float]:
        """Averages over classes: czsl, u, s, h; and ausuc."""
        czsl, u, s = (float(np.mean(list(x.values()))) for x in (self.czsl, self.u, self.s))
        return {"czsl": czsl, "u": u, "s": s, "h": harmonic_mean(u, s), "ausuc": self.ausuc}


@dataclass(frozen=True)
class Difference:
    """A mean and the interval that holds 95 % of the bootstrap's samples."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def paired_difference(
    ours: Sequence[Result], theirs: Sequence[Result], seed: int = 0
) -> dict[str, Difference]:
    """Ours minus theirs in CZSL and H, with a bootstrap over classes.

    Args:
        ours, theirs: one result a seed, with the same folds in the same place. A class's accuracy
            is its mean over seeds, and counts as often as the class is drawn.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile intervals.
    """
    names = sorted(ours[0].czsl)

    def table(results: Sequence[Result], part: str) -> NDArray[np.float64]:
        rows = [[getattr(result, part)[name] for name in names] for result in results]
        return np.mean(rows, axis=0)  # type: ignore[no-any-return]

    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(names), (SAMPLES, len(names)))
    whole = np.arange(len(names))[None]

    def czsl(results: Sequence[Result], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return table(results, "czsl")[rows].mean(axis=1)  # type: ignore[no-any-return]

    def h(results: Sequence[Result], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        u, s = (table(results, part)[rows].mean(axis=1) for part in ("u", "s"))
        return _harmonic(u, s)

    found = {}
    for name, score in (("czsl", czsl), ("h", h)):
        samples = score(ours, drawn) - score(theirs, drawn)
        low, high = np.percentile(samples, INTERVAL)
        mean = float((score(ours, whole) - score(theirs, whole))[0])
        found[name] = Difference(mean, float(low), float(high))
    return found


def _harmonic(u: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 2 * u * s / np.maximum(u + s, 1e-9)
    return result


def _shares(
    right: NDArray[np.bool_], truth: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """(gammas, N) -> (gammas, classes): the share of each class's images that are right; 0 for a
    class without any."""
    own = np.zeros((len(truth), classes))
    own[np.arange(len(truth)), truth] = 1
    result: NDArray[np.float64] = right @ (own / np.maximum(own.sum(axis=0), 1))
    return result
