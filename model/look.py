"""Looking twice: where the object is in a frame, from what a first pass over it yields.

A network that was trained on pictures which the object fills does worse on whole frames. So a first
pass says where to look, and a second one looks at that window alone. (h, w) the grid of what the
first pass says, D the embedding, A attributes.

An object that a photograph was taken of seldom lies along the whole border; so the border's mean is
the background, and the distance from it marks what isn't. A coarse map knows what belongs to the
object, a fine one where that ends. (Measured against MIM's attribute maps, which find the part of
an object that most attributes are read from; see docs/model.md.)
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess import Box
from model.runtime.base import F32, F64

FLAT = 1.05  # a map whose peak is no higher than this times its mean says nothing
FLOOR = 0.25  # the quantile of a map that counts as its ground
LEVEL = 0.5  # from the ground (0) to the peak (1): what lies above is the object's
MARGIN = 0.1  # of the object's sides, added at each end
LEAST_SIDE = 0.25  # of the view's sides: a window is never shorter
_FINE = 14  # places of a window's edges along a side, at least


class Window(NamedTuple):
    """Where to look again: x, y, w, h in whole pixels, and its share of the first look's area."""

    box: Box
    share: float


def foreground(fine: F32, coarse: F32) -> F32:
    """Where the object is: d' sqrt(d), d and d' the distances from the border in both maps.

    Args:
        fine: (C, h, w), `Embedded.fine` of one image.
        coarse: (C', h', w'), likewise.

    Returns:
        (h, w), higher where the object is, on no scale of its own.
    """
    near, far = _squared_distances(fine), _squared_distances(coarse)
    height, width = near.shape
    enlarged = Image.fromarray(far).resize((width, height), Image.Resampling.BILINEAR)
    result: F32 = np.sqrt(np.asarray(enlarged) * np.sqrt(near))
    return result


def window(found: F32, view: Box) -> Window:
    """Where to look again: around what is above a level and hangs together with the peak.

    Args:
        found: (h, w), higher where the object is, on any scale.
        view: x, y, w, h of what the map covers, in pixels.

    Returns:
        A window inside `view`; all of it where the map is flat.
    """
    if not np.isfinite(found).all() or found.max() <= FLAT * found.mean():
        return Window(view, 1.0)
    fine = _upsampled(found)
    floor = np.quantile(fine, FLOOR)
    peak = np.unravel_index(fine.argmax(), fine.shape)
    rows, columns = np.nonzero(
        _connected(fine >= floor + LEVEL * (fine[peak] - floor), (int(peak[0]), int(peak[1])))
    )
    height, width = fine.shape
    x, w = _placed(columns.min() / width, (columns.max() + 1) / width, view[0], view[2])
    y, h = _placed(rows.min() / height, (rows.max() + 1) / height, view[1], view[3])
    return Window((x, y, w, h), w * h / (view[2] * view[3]))


def combined(first: F32, second: F32, share: float) -> F32:
    """Two looks' unit embeddings (D,) -> one, a unit vector between them.

    Args:
        share: of the first look's area that the second one saw. It is the first one's weight, and
            what is missing to 1 the second one's: the smaller the object, the less of the first
            look is about it.
    """
    both = mean(first, second, share)
    length = float(np.linalg.norm(both))
    result: F32 = both / np.float32(length) if length > 0 else second
    return result


def mean(first: F32, second: F32, share: float) -> F32:
    """Two looks' attributes (A,) -> theirs together, weighted as in `combined`."""
    result: F32 = np.float32(share) * first + np.float32(1 - share) * second
    return result


def _squared_distances(feature_map: F32) -> F32:
    """(C, h, w) -> (h, w): from the mean of the features in the outermost cells."""
    outermost = np.ones(feature_map.shape[1:], np.bool_)
    outermost[1:-1, 1:-1] = False
    difference = feature_map - feature_map[:, outermost].mean(axis=1)[:, None, None]
    result: F32 = np.square(difference).sum(axis=0)
    return result


def _upsampled(values: F32) -> F64:
    """(h, w) -> at least `_FINE` x `_FINE`, linear between the middles of cells."""
    height, width = (length * max(math.ceil(_FINE / length), 1) for length in values.shape)
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)


def _connected(mask: NDArray[np.bool_], start: tuple[int, int]) -> NDArray[np.bool_]:
    """The part of a mask that can be reached from `start`, from neighbour to neighbour."""
    allowed = np.pad(mask, 1)
    reached = np.zeros_like(allowed)
    reached[start[0] + 1, start[1] + 1] = True
    count = 0
    while (grown := int(reached.sum())) > count:
        count = grown
        near = reached.copy()
        near[1:] |= reached[:-1]
        near[:-1] |= reached[1:]
        near[:, 1:] |= reached[:, :-1]
        near[:, :-1] |= reached[:, 1:]
        reached = near & allowed
    return reached[1:-1, 1:-1]


def _placed(low: float, high: float, start: float, length: float) -> tuple[int, int]:
    """Fractions of a side of the view -> where it starts and how long it is, in whole pixels, with
    the margin, no shorter than allowed, pushed inside."""
    wanted = min(max((high - low) * (1 + 2 * MARGIN), LEAST_SIDE), 1)
    low = min(max((low + high - wanted) / 2, 0), 1 - wanted)
    first = math.floor(start + low * length)
    last = min(math.ceil(start + (low + wanted) * length), math.ceil(start + length))
    return first, max(last - first, 1)
