"""One image file -> an upright RGB image, whatever people send and however it is broken.

Everything here may be called from several threads; no setting of Pillow's is changed.
"""

import io
from collections.abc import Iterator
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
UPRIGHT = {  # EXIF 2.32, 4.6.4: what makes each orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}


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
    with opened(data, max_pixels) as original:
        return loaded(original, data)


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[ImageFile]:
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


def loaded(image: ImageFile, data: bytes) -> Image.Image:
    """What `decode` gives of a file that is `opened`; its errors are the context's."""
    image.load()
    check_end(image.format, data)
    return _upright(_rgb(image), image)


def check_end(kind: str | None, data: bytes) -> None:
    """Pillow is content with a PNG's pixels; a file cut behind them was cut all the same.

    Raises:
        ImageError: image_truncated.
    """
    if kind == "PNG" and _PNG_END not in data:
        raise ImageError("image_truncated", "the PNG ends before its last chunk")


def upright_size(image: ImageFile) -> tuple[int, int]:
    """(width, height) once it is upright, of a file that is opened and not yet loaded."""
    width, height = _stored_size(image)
    return (height, width) if turn_of(image) in _SIDEWAYS else (width, height)


def _stored_size(image: ImageFile) -> tuple[int, int]:
    # Pillow has swapped a TIFF's `size` where its own tag says that it lies sideways, but not where
    # its XMP does; the tags themselves are as they are in the file.
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        return tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
    return image.size


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
    turn = turn_of(original)
    return image if turn is None else image.transpose(turn)


def turn_of(original: ImageFile) -> Image.Transpose | None:
    """What makes it upright; None: it is."""
    try:
        orientation = original.getexif().get(_ORIENTATION)
    # Metadata that can't be read is no reason to refuse pixels that can.
    except Exception:  # noqa: BLE001
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


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
