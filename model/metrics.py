"""How the field scores zero-shot classification: the only place for accuracy.

Source: Xian et al., "Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and the
Ugly", TPAMI 2018, arXiv:1707.00600. N images, C classes; `truth` are columns of `logits`.
"""

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32
from model.scoring import calibrated_stacking

Indices = NDArray[np.integer]
Mask = NDArray[np.bool_]


def per_class_accuracy(truth: Indices, predicted: Indices, classes: Indices) -> float:
    """Mean over `classes` of the share of the class's images that were predicted as it.

    Raises:
        ValueError: a class has no image.
    """
    classes = np.asarray(classes)
    size = int(max(truth.max(initial=0), classes.max(initial=0))) + 1
    images = np.bincount(truth, minlength=size)[classes]
    if not images.all():
        raise ValueError(f"classes {classes[images == 0].tolist()} have no image to score")
    right = np.bincount(truth[truth == predicted], minlength=size)[classes]
    return float((right / images).mean())


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
    columns = np.arange(logits.shape[1])
    best_seen = columns[is_seen][logits[:, is_seen].argmax(axis=1)]
    best_unseen = columns[~is_seen][logits[:, ~is_seen].argmax(axis=1)]
    rows = np.arange(len(truth))
    margin = logits[rows, best_seen].astype(np.float64) - logits[rows, best_unseen]

    # A right image is worth 1 / (images of its class) / (classes of its kind).
    kind = is_seen[truth]
    counts = np.bincount(truth, minlength=len(is_seen))
    classes = np.where(kind, (counts[is_seen] > 0).sum(), (counts[~is_seen] > 0).sum())
    worth = 1 / (counts[truth] * classes)
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


def _check_both(truth: Indices, is_seen: Mask) -> None:
    kinds = is_seen[truth]
    if kinds.all() or not kinds.any():
        raise ValueError(
            f"{int(kinds.sum())} images of seen and {int((~kinds).sum())} of unseen classes; "
            "expected some of both"
        )
