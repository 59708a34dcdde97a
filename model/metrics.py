"""How the field scores zero-shot classification: the only place for accuracy.

Source: Xian et al., "Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and the
Ugly", TPAMI 2018, arXiv:1707.00600. N images, C classes; `truth` are columns of `logits`.
"""

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32

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

    Args:
        logits: (N, C). truth: (N,). is_seen: (C,). gamma: subtracted from seen classes' logits.
    """
    predicted = (logits - np.float32(gamma) * is_seen).argmax(axis=1)
    u, s = (
        per_class_accuracy(truth[rows], predicted[rows], np.unique(truth[rows]))
        for rows in (~is_seen[truth], is_seen[truth])
    )
    return u, s, harmonic_mean(u, s)


def best_gamma(logits: F32, truth: Indices, is_seen: Mask) -> float:
    """The gamma with the highest H, the middle of the best interval.

    Exact: an image's prediction flips only at its margin, best seen minus best unseen logit, so H
    is constant between neighbouring margins.

    Args:
        logits: (N, C). truth: (N,), of seen and of unseen classes. is_seen: (C,).
    """
    columns = np.arange(logits.shape[1])
    best_seen = columns[is_seen][logits[:, is_seen].argmax(axis=1)]
    best_unseen = columns[~is_seen][logits[:, ~is_seen].argmax(axis=1)]
    rows = np.arange(len(truth))
    margin = logits[rows, best_seen].astype(np.float64) - logits[rows, best_unseen]

    # Each image's share in U or in S, below its margin (seen wins) and above it (unseen wins).
    classes, counts = np.unique(truth, return_counts=True)
    share = np.zeros(logits.shape[1])
    share[classes] = 1 / counts
    of_seen = is_seen[truth]
    share /= np.where(is_seen, max(is_seen[classes].sum(), 1), max((~is_seen[classes]).sum(), 1))
    weight = share[truth]
    order = np.argsort(margin)
    s = (weight * of_seen * (best_seen == truth)).sum() - np.concatenate(
        [[0], np.cumsum((weight * of_seen * (best_seen == truth))[order])]
    )
    u = np.concatenate([[0], np.cumsum((weight * ~of_seen * (best_unseen == truth))[order])])
    h = np.divide(2 * u * s, u + s, out=np.zeros_like(u), where=u + s > 0)

    sorted_margin = margin[order]
    edges = np.concatenate([[sorted_margin[0] - 1], sorted_margin, [sorted_margin[-1] + 1]])
    real = np.diff(edges) > 0  # equal margins flip together
    best = int(np.argmax(np.where(real, h, -1)))
    return float((edges[best] + edges[best + 1]) / 2)
