"""Classes that have photographs besides their sheet: one prototype of both.

A class with k photographs is as good as seen to a degree, its `familiarity` k / (k + n): so much of
its prototype are the photographs, and so much of calibrated stacking's gamma it pays. n is what the
sheet counts for, in photographs; it comes from validation classes. Without photographs it is the
sheet's prototype, and pays nothing; a class of the training set pays all.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from model.runtime.base import F32, U8

LARGEST_COUNT = 16  # photographs of a class
SHEET_COUNTS = 3.0  # where a bundle's manifest doesn't say


def familiarity(count: int, sheet_counts: float) -> float:
    """In 0..1, of a class with so many photographs."""
    return count / (count + sheet_counts)


def mean_of(embeddings: F32) -> F32:
    """(k, D) unit rows, k at least 1 -> (D,), of unit length."""
    return _unit(embeddings.mean(axis=0))


def blended(prototypes: F32, mean: F32, share: float) -> F32:
    """Sheets' prototypes and the photographs' mean together.

    Args:
        prototypes: (..., D), unit rows.
        mean: (D,), from `mean_of`.
        share: of the photographs, in 0..1: `familiarity`.

    Returns:
        (..., D), unit rows.
    """
    return _unit(np.float32(1 - share) * prototypes + np.float32(share) * mean)


def encoded(pixels: U8) -> bytes:
    """(S, S, 3) as a PNG, without loss: another network can look at it again."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return file.getvalue()


def decoded(photographs: Sequence[bytes], size: int) -> U8:
    """What `encoded` wrote -> (k, S, S, 3), resized if it was written for another size."""
    images = [Image.open(io.BytesIO(photograph)).convert("RGB") for photograph in photographs]
    return np.stack(
        [
            np.asarray(
                image
                if image.size == (size, size)
                else image.resize((size, size), Image.Resampling.BICUBIC),
                np.uint8,
            )
            for image in images
        ]
    )


def _unit(rows: F32) -> F32:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    result: F32 = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return result
