"""Image bytes -> (S, S, 3) uint8. Training's evaluation and the service see the same pixels.

Everything here may be called from several threads; no setting of Pillow's is changed.
"""

import io
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Importing a plugin registers its format. Pillow would do so at the first `open`, by trial.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from model.errors import ImageError
from model.runtime.base import U8

Box = tuple[float, float, float, float]  # x, y, w, h in pixels of the upright original

_PNG_END = b"IEND\xaeB`\x82"  # the last chunk: its type and its checksum
FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)

_ORIENTATION = 0x0112
_UPRIGHT = {  # EXIF 2.32, 4.6.4: what makes each orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}
_LAST_COLUMN_FIRST = {_UPRIGHT[orientation] for orientation in (2, 3, 6, 7)}
_LAST_ROW_FIRST = {_UPRIGHT[orientation] for orientation in (3, 4, 7, 8)}
_WORTH_HELP = 100_000  # pixels; to squash fewer takes no longer than to wake another thread
_KEPT = 2  # a photograph shrunk while it is decoded keeps so many pixels for one of the input


def to_input(
    data: bytes,
    size: int,
    max_pixels: int,
    box: Box | None = None,
    helper: Executor | None = None,
) -> U8:
    """Image bytes -> (size, size, 3) RGB: what `fit` makes of `decode`, with their errors.

    A JPEG that is more than twice as large as needed, or its box, is decoded at a half, a quarter
    or an eighth of its size, which takes a fraction of the time (libjpeg scales the blocks of its
    cosine transform); what is left is squashed as ever.

    Args:
        helper: squashes the upper half beside this thread, if it is idle; the pixels are the same.
    """
    with _opened(data, max_pixels) as original:
        full, turn = _upright_size(original), _turn(original)
        shrink = _shrink(original, full, size, box)
        if shrink > 1:
            original.draft(None, (original.width // shrink, original.height // shrink))
        image = _loaded(original, data)
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

    Of most formats only the header is read; errors are those of `decode` and `fit`.
    """
    with _opened(data, max_pixels) as original:
        return clipped(_upright_size(original), box)


def clipped(size: tuple[int, int], box: Box | None = None) -> Box:
    """The whole pixels that a box touches in an image of (width, height), as `fit` takes them;
    all of them without a box. Raises: ImageError, as `fit`."""
    left, top, right, bottom = _pixels(box, size) if box else (0, 0, *size)
    return left, top, right - left, bottom - top


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Decode JPEG, PNG, WebP, GIF, BMP or TIFF (the first frame) to upright RGB, fully loaded.

    Transparency is laid on white. 16 bits are brought to 8; see `_gray` for wider numbers.

    Args:
        data: a whole file.
        max_pixels: width x height that is allowed, checked before anything is decoded. Pillow's
            own limit holds beside it.

    Raises:
        ImageError: image_empty, image_unreadable, image_truncated or image_too_large.
    """
    with _opened(data, max_pixels) as original:
        return _loaded(original, data)


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


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[ImageFile]:
    """The file's header, checked; whatever goes wrong inside is an `ImageError`."""
    if not data:
        raise ImageError("image_empty", "the image has no bytes; send the file's content")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            yield image
    except ImageError:
        raise
    # Pillow's decoders raise what they like on bad bytes: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _as_image_error(error, max_pixels) from error


def _loaded(image: ImageFile, data: bytes) -> Image.Image:
    image.load()
    _check_end(image.format, data)
    return _upright(_rgb(image), image)


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


def _upright_size(image: ImageFile) -> tuple[int, int]:
    turned = _turn(image) in _SIDEWAYS
    return (image.height, image.width) if turned else (image.width, image.height)


def _shrink(image: ImageFile, full: tuple[int, int], size: int, box: Box | None) -> int:
    """By how much an image may be shrunk while it is decoded."""
    if image.format != "JPEG":
        return 1
    left, top, right, bottom = _pixels(box, full) if box else (0, 0, *full)
    spare = min(right - left, bottom - top) // (_KEPT * size)
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(1, spare))


def _check_end(kind: str | None, data: bytes) -> None:
    """Pillow is content with a PNG's pixels; a file cut behind them was cut all the same."""
    if kind == "PNG" and _PNG_END not in data:
        raise ImageError("image_truncated", "the PNG ends before its last chunk")


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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_gray(np.asarray(image), image.mode))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _gray(values: NDArray[Any], mode: str) -> U8:
    """Gray values wider than 8 bits -> 8 bits.

    16-bit modes are full scale. "I" and "F" name no scale, so the smallest usual one that holds
    all values is taken: 0..1 (F only), 0..255, 0..65535, else from the lowest to the highest.
    """
    if mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = min(values.min(), 0.0), values.max()
        if low == 0:
            high = next((top for top in _SCALES[mode] if high <= top), high)
    span = max(high - low, np.finfo(np.float64).tiny)
    return np.rint((values - low) * (255 / span)).clip(0, 255).astype(np.uint8)


_SCALES = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}


def _upright(image: Image.Image, original: ImageFile) -> Image.Image:
    turn = _turn(original)
    return image if turn is None else image.transpose(turn)


def _turn(original: ImageFile) -> Image.Transpose | None:
    try:
        orientation = original.getexif().get(_ORIENTATION)
    # Metadata that can't be read is no reason to refuse pixels that can.
    except Exception:  # noqa: BLE001
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _as_image_error(error: Exception, max_pixels: int) -> ImageError:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _too_large("more", max_pixels)
    if isinstance(error, MemoryError):
        return _too_large("more than the memory holds", max_pixels)
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return ImageError("image_truncated", "the image ends too early; was the upload cut off?")
    return ImageError(
        "image_unreadable",
        f"not an image that can be read; send {', '.join(FORMATS)}",
    )


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height}", max_pixels)


def _too_large(size: str, max_pixels: int) -> ImageError:
    return ImageError(
        "image_too_large", f"the image has {size} pixels; at most {max_pixels} are allowed"
    )
