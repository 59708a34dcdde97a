"""A map of where a network looked, laid over the photograph: a picture for people."""

import io

import numpy as np
from PIL import Image

from model.image_file import decode
from model.preprocess import Box, clipped
from model.runtime.base import F32

_LONGEST = 1024  # pixels of the picture's longer side
_DIMMED = 0.55  # what is left of the photograph's light where the map is lowest
_GLOW = np.array([255, 170, 40], np.float32)  # where it is highest
_GLOW_SHARE = 0.55


def overlay(data: bytes, heat: F32, max_pixels: int, box: Box | None = None) -> bytes:
    """A PNG of the upright photograph: darker where the map is low, glowing where it is high.

    Args:
        data: the image file.
        heat: (h, w), at least 0, over the part of the photograph that the network saw.
        max_pixels: of the image, at most.
        box: that part; all of it without one.

    Raises:
        ImageError: the file can't be used, or the box doesn't fit.
    """
    photograph = decode(data, max_pixels)
    left, top, width, height = clipped(photograph.size, box)
    scale = min(1.0, _LONGEST / max(photograph.size))
    size = max(1, round(photograph.width * scale)), max(1, round(photograph.height * scale))
    small = np.asarray(photograph.resize(size, Image.Resampling.LANCZOS), np.float32)
    # The far edge may round to just outside.
    x, y = min(round(left * scale), size[0] - 1), min(round(top * scale), size[1] - 1)
    w = min(max(1, round(width * scale)), size[0] - x)
    h = min(max(1, round(height * scale)), size[1] - y)
    strength = np.zeros(small.shape[:2], np.float32)
    strength[y : y + h, x : x + w] = np.asarray(_enlarged(heat, (w, h)))
    light = small * (_DIMMED + (1 - _DIMMED) * strength)[..., None]
    share = (_GLOW_SHARE * strength)[..., None]
    painted = light * (1 - share) + _GLOW * share
    file = io.BytesIO()
    Image.fromarray(painted.round().clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _enlarged(heat: F32, size: tuple[int, int]) -> F32:
    """(h, w) on any scale -> (height, width) from 0 to 1; all 0 where the map says nothing."""
    highest = float(heat.max(initial=0))
    values = np.asarray(heat, np.float32) / highest if highest > 0 else np.zeros_like(heat)
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    smooth: F32 = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    return smooth
