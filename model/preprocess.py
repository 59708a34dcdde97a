"""Image bytes -> (S, S, 3) uint8. Training's evaluation and the service see the same pixels.

Everything here may be called from several threads; no setting of Pillow's is changed.
"""

import math
from concurrent.futures import Executor

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from model.errors import ImageError
from model.image_file import UPRIGHT, loaded, opened, turn_of, upright_size
from model.runtime.base import U8

Box = tuple[float, float, float, float]  # x, y, w, h in pixels of the upright original

_LAST_COLUMN_FIRST = {UPRIGHT[orientation] for orientation in (2, 3, 6, 7)}
_LAST_ROW_FIRST = {UPRIGHT[orientation] for orientation in (3, 4, 7, 8)}
_WORTH_HELP = 100_000  # pixels; to squash fewer takes no longer than to wake another thread
_KEPT = 2  # a photograph shrunk while it is decoded keeps so many pixels for one of the input


def to_input(
    data: bytes,
    size: int,
    max_pixels: int,
    box: Box | None = None,
    helper: Executor | None = None,
) -> U8:
    """Image bytes -> (size, size, 3) RGB: what `fit` makes of `decode` (`model.image_file`).

    A JPEG that is more than twice as large as needed, or its box, is decoded at a half, a quarter
    or an eighth of its size, which takes a fraction of the time (libjpeg scales the blocks of its
    cosine transform); what is left is squashed as ever.

    Args:
        helper: squashes the upper half beside this thread, if it is idle; the pixels are the same.
    """
    with opened(data, max_pixels) as original:
        full, turn = upright_size(original), turn_of(original)
        shrink = _shrink(original, full, size, box)
        if shrink > 1:
            original.draft(None, (original.width // shrink, original.height // shrink))
        image = loaded(original, data)
    if shrink == 1:
        return fit(image, size, box, helper)
    # The last column and row may stand for fewer pixels than the others; a turn brings them first.
    x = image.width - full[0] / shrink if turn in _LAST_COLUMN_FIRST else 0.0
    y = image.height - full[1] / shrink if turn in _LAST_ROW_FIRST else 0.0
    left, top, right, bottom = (
        edge / shrink for edge in (_pixels(box, full) if box else (0, 0, *full))
    )
    return _squashed(image, size, (x + left, y + top, x + right, y + bottom), helper)


def region(data: bytes, max_pixels: int, box: Box | None = None) -> Box:
    """The part of an image that `to_input` squashes, in whole pixels of the upright original.

    Of most formats only the header is read; errors are those of `image_file.decode` and `fit`.
    """
    with opened(data, max_pixels) as original:
        return clipped(upright_size(original), box)


def clipped(size: tuple[int, int], box: Box | None = None) -> Box:
    """The whole pixels that a box touches in an image of (width, height), as `fit` takes them;
    all of them without a box. Raises: ImageError, as `fit`."""
    left, top, right, bottom = _pixels(box, size) if box else (0, 0, *size)
    return left, top, right - left, bottom - top


def fit(
    image: Image.Image, size: int, box: Box | None = None, helper: Executor | None = None
) -> U8:
    """Squash an RGB image, or a box of it, to (size, size, 3), bicubic with antialiasing.

    A box is clipped to the image and widened to whole pixels, so that sending a box gives exactly
    what sending the cropped picture would.

    Raises:
        ImageError: box_invalid (not four finite numbers, or no positive width and height),
            box_outside (no overlap with the image).
    """
    if box is not None:
        image = image.crop(_pixels(box, image.size))
    return _squashed(image, size, (0, 0, *image.size), helper)


def _squashed(image: Image.Image, size: int, part: Box, helper: Executor | None) -> U8:
    """`part`: left, top, right and bottom."""

    def rows(first: int, last: int) -> U8:
        left, top, right, bottom = part
        of_row = (bottom - top) / size
        strip = left, top + first * of_row, right, top + last * of_row
        return np.array(
            image.resize((size, last - first), Image.Resampling.BICUBIC, strip), dtype=np.uint8
        )

    if image.width * image.height < _WORTH_HELP:
        return rows(0, size)
    # In two halves with a helper or without: their sums round in another way than the whole's.
    half = size // 2
    if helper is None:
        return np.concatenate([rows(0, half), rows(half, size)])
    upper = helper.submit(rows, 0, half)
    lower = rows(half, size)
    # A helper that hasn't begun by now is busy with something else: nobody waits for it.
    return np.concatenate([rows(0, half) if upper.cancel() else upper.result(), lower])


def _shrink(image: ImageFile, full: tuple[int, int], size: int, box: Box | None) -> int:
    """By how much an image may be shrunk while it is decoded."""
    if image.format != "JPEG":
        return 1
    left, top, right, bottom = _pixels(box, full) if box else (0, 0, *full)
    spare = min(right - left, bottom - top) // (_KEPT * size)
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(1, spare))


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the whole pixels that a box touches."""
    if len(box) != 4 or not all(math.isfinite(v) for v in box) or min(box[2:]) <= 0:
        raise ImageError(
            "box_invalid", "a box is x,y,w,h: four finite numbers, w and h above 0, in pixels"
        )
    edges = []
    for start, length, limit in zip(box[:2], box[2:], size, strict=True):
        end = start + length
        if start >= limit or end <= 0:
            raise ImageError(
                "box_outside",
                f"the box {','.join(f'{v:g}' for v in box)} (x,y,w,h) does not overlap the image "
                f"of {size[0]} x {size[1]} pixels",
            )
        low = math.floor(max(start, 0))
        edges.append((low, max(math.ceil(min(end, limit)), low + 1)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom
