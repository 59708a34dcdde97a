"""Whole frames made of crops: what users send, from what the photographs of a data set are.

The crop takes a share of the frame and lies anywhere in it. Around it its own border goes on for a
little, mirrored, and fades into the borders of other photographs, in colours near its own: nothing
but the object itself says where it is.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model.preprocess import Box
from model.runtime.base import F32, U8

ASPECT = 1.2  # a frame's or a crop's sides are stretched against each other by this, at most
_STRIP = 0.15  # of a photograph's side: so near to its edges the object seldom is
_STRETCH = (1.0, 2.5)  # how long a strip becomes, in lengths of the crop
_BLURRED = 0.25  # of the textures
_RIM = 0.06  # of a crop's sides: what its own background is judged by
_FADE = 0.12  # of a crop's sides, beyond each edge
_CALM = 16  # below this deviation, of 255, a rim has no texture to measure others by
_NEAR = (0.3, 1.0)  # how far a background's colours are drawn to the crop's


def frame(
    crop: Image.Image,
    share: float,
    backgrounds: Sequence[Image.Image],
    generator: np.random.Generator,
    size: int,
) -> tuple[Image.Image, Box]:
    """Put a crop into a larger photograph.

    Args:
        crop: the object, filling the picture.
        share: of the frame's area that the crop takes, 0 < share <= 1; at 1 the frame is the crop.
        backgrounds: other photographs, which the surroundings are made from; needed below 1.
        generator: its state decides everything that is random.
        size: the frame's area is that of a square with this side, in pixels.

    Returns:
        The frame, RGB, and where the crop lies in it, in whole pixels.

    Raises:
        ValueError: a share outside (0, 1], or no backgrounds.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; expected 0 < share <= 1")
    aspect = _stretch(generator)
    # As much as fits: a crop that takes nearly all of a frame has the frame's shape.
    own = min(max(_stretch(generator), share), 1 / share)
    width, height = _sides(size, aspect)
    w = min(max(round(width * math.sqrt(share * own)), 1), width)
    h = min(max(round(height * math.sqrt(share / own)), 1), height)
    item = crop.convert("RGB").resize((w, h), Image.Resampling.BICUBIC)
    if (w, h) == (width, height):
        return item, (0, 0, w, h)
    if not backgrounds:
        raise ValueError("there are no backgrounds; expected at least one other photograph")
    whole = _surroundings((width, height), item, backgrounds, generator)
    left = int(generator.integers(0, width - w + 1))
    top = int(generator.integers(0, height - h + 1))
    extended, mask, (across, down) = _extended(item)
    whole.paste(extended, (left - across, top - down), mask)
    return whole, (left, top, w, h)


def _stretch(generator: np.random.Generator) -> float:
    return float(ASPECT ** generator.uniform(-1, 1))


def _sides(size: int, aspect: float) -> tuple[int, int]:
    return max(round(size * math.sqrt(aspect)), 1), max(round(size / math.sqrt(aspect)), 1)


def _surroundings(
    size: tuple[int, int],
    item: Image.Image,
    backgrounds: Sequence[Image.Image],
    generator: np.random.Generator,
) -> Image.Image:
    """A background without an object in focus: two textures, one fading into the other."""
    first, second = (
        _texture(size, item, backgrounds[int(generator.integers(len(backgrounds)))], generator)
        for _ in range(2)
    )
    pixels = _faded(first, second, generator)
    return Image.fromarray(_recoloured(pixels, _rim(item), float(generator.uniform(*_NEAR))))


def _texture(
    size: tuple[int, int],
    item: Image.Image,
    photograph: Image.Image,
    generator: np.random.Generator,
) -> F32:
    """(H, W, 3): a strip along an edge, continued by its mirror images; or all of it, blurred."""
    photograph = photograph.convert("RGB")
    if generator.random() < 0.5:
        photograph = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if generator.random() < _BLURRED:
        blurred = photograph.resize((32, 32), Image.Resampling.BOX)
        blurred = blurred.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.5, 3))))
        return np.asarray(blurred.resize(size, Image.Resampling.BICUBIC), np.float32)
    photograph = photograph.rotate(90 * int(generator.integers(4)), expand=True)
    depth = max(round(_STRIP * photograph.height), 1)
    strip = photograph.crop((0, 0, photograph.width, depth))
    length = max(round(float(generator.uniform(*_STRETCH)) * max(item.size)), 2)
    shape = length, max(round(length * depth / photograph.width), 1)
    piece = np.asarray(strip.resize(shape, Image.Resampling.BICUBIC), np.float32)
    if generator.random() < 0.5:
        piece = piece.transpose(1, 0, 2)
    shift = (int(generator.integers(side)) for side in piece.shape[:2])
    return piece[np.ix_(*map(_mirrored, size[::-1], piece.shape[:2], shift))]


def _mirrored(count: int, period: int, shift: int) -> NDArray[np.int64]:
    """(count,) indices that run from 0 to period - 1, back again, and so on."""
    at = (np.arange(count) + shift) % (2 * period)
    return np.minimum(at, 2 * period - 1 - at)


def _faded(first: F32, second: F32, generator: np.random.Generator) -> F32:
    """One texture on one side, the other on the other, along a line of any direction."""
    height, width = first.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    angle = generator.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle) - generator.uniform(-0.7, 0.7)
    weight = (1 / (1 + np.exp(-along / generator.uniform(0.05, 0.5))))[..., None]
    mixed: F32 = (first * weight + second * (1 - weight)).astype(np.float32)
    return mixed


def _rim(item: Image.Image) -> F32:
    """(N, 3): the pixels along a crop's edges."""
    pixels = np.asarray(item, np.float32)
    height, width = pixels.shape[:2]
    y, x = np.ogrid[:height, :width]
    deep = (np.minimum(y, height - 1 - y) >= max(round(_RIM * height), 1)) & (
        np.minimum(x, width - 1 - x) >= max(round(_RIM * width), 1)
    )
    rim: F32 = pixels[~deep]
    return rim


def _recoloured(pixels: F32, rim: F32, near: float) -> U8:
    """Draw the mean and the deviation of each channel towards the rim's."""
    mean, deviation = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    wanted = np.maximum(rim.std(axis=0), _CALM) / np.maximum(deviation, _CALM)
    gain = 1 + near * (wanted - 1)
    moved = (pixels - mean) * gain + mean + near * (rim.mean(axis=0) - mean)
    result: U8 = np.rint(moved).clip(0, 255).astype(np.uint8)
    return result


def _extended(item: Image.Image) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
    """A crop with its mirrored border around it, the mask that fades that out, and how wide it is
    to the left and right, and above and below."""
    pixels = np.asarray(item)
    depths = [max(round(_FADE * side), 1) for side in pixels.shape[:2]]
    down, across = (
        _mirrored(side + 2 * depth, side, 2 * side - depth)
        for side, depth in zip(pixels.shape[:2], depths, strict=True)
    )
    nearness = [
        (np.arange(side + 2 * depth) + 0.5) / depth
        for side, depth in zip(pixels.shape[:2], depths, strict=True)
    ]
    y, x = (np.minimum(near, near[::-1]).clip(0, 1) for near in nearness)
    mask = np.rint(255 * np.minimum(y[:, None], x[None, :])).astype(np.uint8)
    return (
        Image.fromarray(pixels[np.ix_(down, across)]),
        Image.fromarray(mask),
        (depths[1], depths[0]),
    )
