"""From embeddings to ranked classes, in numpy. B images, C classes, D embedding."""

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32

# The scores of which `top_k` looks at the highest alone, to leave most of them out.
_RUN = 256
# So many scores are sorted in less time than it takes to leave most of them out.
_FEW = 500


def cosine_logits(embedding: F32, prototypes: F32, temperature: float) -> F32:
    """Cosines of unit rows, divided by the temperature.

    Args:
        embedding: (B, D), unit rows.
        prototypes: (C, D), unit rows.
        temperature: > 0.

    Returns:
        (B, C)

    Raises:
        ValueError: the dimensions differ, or the temperature is not above 0.
    """
    if embedding.ndim != 2 or prototypes.ndim != 2 or embedding.shape[1] != prototypes.shape[1]:
        raise ValueError(
            f"embedding {embedding.shape} and prototypes {prototypes.shape}; "
            "expected (B, D) and (C, D)"
        )
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; expected a number above 0")
    logits: F32 = embedding @ prototypes.T
    logits /= np.float32(temperature)
    return logits


def calibrated_stacking(logits: F32, is_seen: NDArray[np.bool_] | F32, gamma: float) -> F32:
    """Lower the scores of seen classes so that unseen ones get a fair chance.

    Args:
        logits: (B, C) class scores, in the units gamma was tuned in.
        is_seen: (C,) True where class c was in the training set; or how far it is as good as that,
            in 0..1 (`model.photographs.familiarity`).
        gamma: what to subtract from seen scores; 0 changes nothing.

    Returns:
        (B, C) new scores; the input is not modified.

    Raises:
        ValueError: is_seen does not have one entry per column of logits.

    Source: Chao et al., ECCV 2016, arXiv:1605.04253.
    """
    if is_seen.shape != logits.shape[-1:]:
        raise ValueError(
            f"is_seen has shape {is_seen.shape}, logits {logits.shape}; "
            "expected one entry per column"
        )
    return logits - np.float32(gamma) * is_seen.astype(np.float32)


def softmax(logits: F32) -> F32:
    """Probabilities along the last axis. -inf stands for a class that is no candidate.

    Raises:
        ValueError: a row has no finite entry, or a NaN or +inf.
    """
    highest = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(highest).all():
        raise ValueError("a row of logits has no finite highest entry")
    powers: F32 = logits - highest
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def top_k(scores: F32, k: int) -> NDArray[np.intp]:
    """Indices of the k highest of (C,) scores, best first; of equal scores the first comes first.

    k is clamped to C. Takes O(C + k log k): no full sort.

    Raises:
        ValueError: k is below 1, or scores is not one row of numbers without NaN.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected at least 1")
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(f"scores of shape {scores.shape}; expected (C,) without NaN")
    k = min(k, len(scores))
    runs = len(scores) // _RUN
    if k >= runs:
        return _top(scores, k)
    # At least k scores, one in each of k runs, reach the k-th highest of the runs' maxima.
    maxima = scores[: runs * _RUN].reshape(runs, _RUN).max(axis=1)
    near = np.flatnonzero(scores >= np.partition(maxima, runs - k)[runs - k])
    chosen: NDArray[np.intp] = near[_top(scores[near], k)]
    return chosen


def _top(scores: F32, k: int) -> NDArray[np.intp]:
    """`top_k` by one partition, or, of few scores, by sorting all of them."""
    if len(scores) <= _FEW or k == len(scores):
        order: NDArray[np.intp] = np.argsort(-scores, kind="stable")[:k]
        return order
    bound = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > bound)
    ties = np.flatnonzero(scores == bound)[: k - len(above)]
    chosen = np.sort(np.concatenate([above, ties]))
    return chosen[np.argsort(-scores[chosen], kind="stable")]
