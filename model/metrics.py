"""How the field scores zero-shot classification: the only place for accuracy.

Source: Xian et al., "Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and the
Ugly", TPAMI 2018, arXiv:1707.00600. N images, C classes; `truth` are columns of `logits`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32
from model.scoring import calibrated_stacking

Indices = NDArray[np.integer]
Mask = NDArray[np.bool_]
F64 = NDArray[np.float64]

BINS = 15  # of confidence, as in the source of `reliability`


def per_class_accuracy(truth: Indices, predicted: Indices, classes: Indices) -> float:
    """Mean over `classes` of the share of the class's images that were predicted as it.

    Raises:
        ValueError: a class has no image.
    """
    return float(class_accuracies(truth, predicted, classes).mean())


def class_accuracies(truth: Indices, predicted: Indices, classes: Indices) -> F64:
    """Of each of `classes`, the share of its images that were predicted as it.

    Raises:
        ValueError: a class has no image.
    """
    classes = np.asarray(classes)
    size = int(max(truth.max(initial=0), classes.max(initial=0))) + 1
    images = np.bincount(truth, minlength=size)[classes]
    if not images.all():
        raise ValueError(f"classes {classes[images == 0].tolist()} have no image to score")
    right = np.bincount(truth[truth == predicted], minlength=size)[classes]
    shares: F64 = right / images
    return shares


def confusion(truth: Indices, predicted: Indices, classes: Indices) -> NDArray[np.int64]:
    """(K, K) images of the class of a row that were predicted as the class of a column, in the
    order of `classes`; images of other classes, and predicted as other classes, don't count."""
    classes = np.asarray(classes)
    size = int(max(truth.max(initial=0), predicted.max(initial=0), classes.max(initial=0))) + 1
    pairs = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    chosen: NDArray[np.int64] = pairs[np.ix_(classes, classes)]
    return chosen


def harmonic_mean(u: float, s: float) -> float:
    """H; 0 where both are 0."""
    return 2 * u * s / (u + s) if u + s else 0.0


def czsl(logits: F32, truth: Indices, unseen: Indices) -> float:
    """Conventional zero-shot accuracy: images of unseen classes, unseen classes as candidates.

    Args:
        logits: (N, C). truth: (N,), each among `unseen`. unseen: columns of the unseen classes.
    """
    unseen = np.asarray(unseen)
    return per_class_accuracy(truth, unseen[logits[:, unseen].argmax(axis=1)], unseen)


def gzsl(logits: F32, truth: Indices, is_seen: Mask, gamma: float) -> tuple[float, float, float]:
    """Generalised zero-shot accuracy with all classes as candidates: U, S and H.

    Classes without an image stay candidates and don't enter the averages.

    Args:
        logits: (N, C). truth: (N,). is_seen: (C,). gamma: subtracted from seen classes' logits.

    Raises:
        ValueError: no image of a seen class, or none of an unseen one.
    """
    _check_both(truth, is_seen)
    predicted = calibrated_stacking(logits, is_seen, gamma).argmax(axis=1)
    u, s = (
        per_class_accuracy(truth[rows], predicted[rows], np.unique(truth[rows]))
        for rows in (~is_seen[truth], is_seen[truth])
    )
    return u, s, harmonic_mean(u, s)


def best_gamma(logits: F32, truth: Indices, is_seen: Mask) -> float:
    """The gamma with the highest H: the middle of the best interval, the widest of equals.

    Exact: an image's prediction flips only at its margin, best seen minus best unseen logit, so H
    is constant between neighbouring margins. Intervals that float32 can't resolve don't count.

    Args:
        logits: (N, C). truth: (N,), of seen and of unseen classes. is_seen: (C,).

    Returns:
        gamma; 0 where every gamma has an H of 0.

    Raises:
        ValueError: no image of a seen class, or none of an unseen one.
    """
    _check_both(truth, is_seen)
    best_seen, best_unseen, margin = _contest(logits, is_seen)
    kind, worth = is_seen[truth], _worth(truth, is_seen)
    # Below its margin an image goes to its best seen class, above to its best unseen one: all
    # others are wrong on both sides and mark no interval.
    matters = np.flatnonzero(truth == np.where(kind, best_seen, best_unseen))
    order = matters[np.argsort(margin[matters])]
    edges, worth, kind = margin[order], worth[order], kind[order]
    u = np.cumsum(worth * ~kind)[:-1]
    s = np.cumsum((worth * kind)[::-1])[::-1][1:]
    width = np.diff(edges)
    resolution = 4 * float(np.spacing(np.abs(logits[np.isfinite(logits)]).max(initial=0)))
    h = np.where(width > resolution, 2 * u * s / np.maximum(u + s, np.finfo(float).tiny), 0)
    if not h.any():
        return 0.0
    # Equal up to the order of summation.
    equals = np.flatnonzero(h > h.max() - 1e-12)
    best = equals[np.argmax(width[equals])]
    return float((edges[best] + edges[best + 1]) / 2)


def seen_unseen_curve(logits: F32, truth: Indices, is_seen: Mask) -> tuple[F64, F64]:
    """U and S at every gamma, from one that leaves no image to the unseen classes to one that
    leaves them all.

    Args:
        logits: (N, C). truth: (N,), of seen and of unseen classes. is_seen: (C,).

    Returns:
        U, rising, and S, falling: (points,) each, in the order of gamma.

    Raises:
        ValueError: no image of a seen class, or none of an unseen one.

    Source: Chao et al., ECCV 2016, arXiv:1605.04253.
    """
    _check_both(truth, is_seen)
    best_seen, best_unseen, margin = _contest(logits, is_seen)
    kind, worth = is_seen[truth], _worth(truth, is_seen)
    order = np.argsort(margin, kind="stable")
    gained = np.where((truth == best_unseen) & ~kind, worth, 0)[order]
    lost = np.where((truth == best_seen) & kind, worth, 0)[order]
    u = np.concatenate([[0.0], np.cumsum(gained)])
    s = np.append(np.cumsum(lost[::-1])[::-1], 0.0)
    # Images of one margin change sides at one gamma.
    ends = np.append(np.diff(margin[order]) > 0, True)
    points = np.concatenate([[0], np.flatnonzero(ends) + 1])
    return u[points], s[points]


def ausuc(logits: F32, truth: Indices, is_seen: Mask) -> float:
    """The area under the seen-unseen curve: how good U and S are together, whatever gamma is."""
    u, s = seen_unseen_curve(logits, truth, is_seen)
    return float(np.trapezoid(s, u))


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often answers are right, by how sure they are: (bins,) each, 0 where no image is."""

    images: NDArray[np.int64]
    confidence: F64  # mean over the bin's images
    accuracy: F64  # share of the bin's images

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): how far confidence and accuracy are apart, mean
        over images. In [0, 1]."""
        apart = np.abs(self.accuracy - self.confidence)
        return float((self.images * apart).sum() / self.images.sum())


def reliability(probabilities: F32, truth: Indices, bins: int = BINS) -> Reliability:
    """Confidence and accuracy of the best class, in `bins` of equal width.

    Args:
        probabilities: (N, C), rows that sum to 1. truth: (N,).

    Raises:
        ValueError: no image.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """
    if not len(truth):
        raise ValueError("no image to score")
    best = probabilities.argmax(axis=1)
    sure = probabilities[np.arange(len(truth)), best].astype(np.float64)
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    least = np.maximum(images, 1)
    return Reliability(
        images,
        np.bincount(place, sure, bins) / least,
        np.bincount(place, best == truth, bins) / least,
    )


def _contest(logits: F32, is_seen: Mask) -> tuple[Indices, Indices, F64]:
    """Each image's best seen class, its best unseen one, and by how much the first is ahead: above
    that gamma the second wins. (N,) each."""
    columns = np.arange(logits.shape[1])
    best_seen = columns[is_seen][logits[:, is_seen].argmax(axis=1)]
    best_unseen = columns[~is_seen][logits[:, ~is_seen].argmax(axis=1)]
    rows = np.arange(len(logits))
    margin = logits[rows, best_seen].astype(np.float64) - logits[rows, best_unseen]
    return best_seen, best_unseen, margin


def _worth(truth: Indices, is_seen: Mask) -> F64:
    """(N,) what a right image adds to U or S: 1 / (images of its class) / (classes of its kind)."""
    counts = np.bincount(truth, minlength=len(is_seen))
    classes = np.where(is_seen[truth], (counts[is_seen] > 0).sum(), (counts[~is_seen] > 0).sum())
    worth: F64 = 1 / (counts[truth] * classes)
    return worth


def _check_both(truth: Indices, is_seen: Mask) -> None:
    kinds = is_seen[truth]
    if kinds.all() or not kinds.any():
        raise ValueError(
            f"{int(kinds.sum())} images of seen and {int((~kinds).sum())} of unseen classes; "
            "expected some of both"
        )
