"""A deterministic backend without a network, for the tests of whoever builds on us.

**The rule.** An image is read as a picture of a sheet. Token t is the t-th horizontal band from the
top, bands of equal height. A band is cut into cells of equal width, each of which shows three of
the token's attributes, in their order, as its mean red, green and blue: 0 is the scale's minimum,
255 its maximum. With the attributes of `write_fake_bundle` the top third is the crown, the middle
the breast, the lower third the wing, and a red top third is `has_crown::red`.

`draw` paints the picture of a sheet. Its embedding is that sheet's prototype, up to the rounding of
colours: the nearest class is the one whose sheet was painted. Squashing does no harm; cropping
does, as with real photographs.
"""

import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from model.bundle import Bundle, BundleClass, Manifest, write
from model.runtime.base import F32, U8, BackendInfo, Embedded
from model.sheets import SEPARATOR, AttributeSpace, fill

_COLOURS = ("red", "green", "blue")
FAKE_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "has_crown": _COLOURS,
    "has_breast": _COLOURS,
    "has_wing": _COLOURS,
}
FAKE_CLASSES: Mapping[str, Mapping[str, str]] = {
    "Robin": {"has_crown": "green", "has_breast": "red", "has_wing": "green"},
    "Jay": {"has_crown": "blue", "has_breast": "green", "has_wing": "blue"},
    "Cardinal": {"has_crown": "red", "has_breast": "red", "has_wing": "red"},
    "Parrot": {"has_crown": "red", "has_breast": "green", "has_wing": "blue"},
}
_CHANNELS = 3
_LARGEST_EMBEDDING = 512


class FakeBackend:
    """A `Backend` that reads images by the rule above.

    Args:
        attribute_count: A, at most 511.
        token_count: T; attribute a belongs to token a * T // A unless `tokens` says otherwise.
        input_size: S.
        grid: (h, w) of the maps.
        tokens: (A,), the token of each attribute.
        minimum, maximum: the sheet's scale.
        bundle, bundle_sha256: what `info` says.
        delay_s: how long each `embed` sleeps, in seconds.
        fail: is shown each batch (B, S, S, 3); an exception that it returns is raised.

    `batch_sizes` lists the size of every batch that `embed` was called with.
    """

    def __init__(
        self,
        attribute_count: int = 9,
        token_count: int = 3,
        input_size: int = 32,
        grid: tuple[int, int] = (4, 4),
        *,
        tokens: Sequence[int] | None = None,
        minimum: F32 | float = 0.0,
        maximum: F32 | float = 100.0,
        bundle: str = "fake",
        bundle_sha256: str = "0" * 64,
        delay_s: float = 0.0,
        fail: Callable[[U8], Exception | None] | None = None,
    ) -> None:
        if attribute_count >= _LARGEST_EMBEDDING:
            raise ValueError(f"{attribute_count} attributes; at most {_LARGEST_EMBEDDING - 1}")
        if tokens is None:
            tokens = [a * token_count // attribute_count for a in range(attribute_count)]
        self._cells = _cells(tokens, token_count)
        self._minimum = np.broadcast_to(np.float32(minimum), attribute_count)
        self._span = np.broadcast_to(np.float32(maximum), attribute_count) - self._minimum
        self._maps = _band_maps(token_count, grid)
        self._info = BackendInfo(
            name="fake",
            device="cpu",
            precision="fp32",
            bundle=bundle,
            bundle_sha256=bundle_sha256,
            input_size=input_size,
            embedding_dim=attribute_count + 1,
            attribute_count=attribute_count,
            token_count=token_count,
            grid=grid,
        )
        self._delay_s = delay_s
        self._fail = fail
        self._lock = threading.Lock()
        self._closed = False
        self.batch_sizes: list[int] = []

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        *,
        delay_s: float = 0.0,
        fail: Callable[[U8], Exception | None] | None = None,
    ) -> Self:
        """The backend for a bundle's attributes and sizes; its weights are not read."""
        space = bundle.manifest.attributes
        return cls(
            len(space),
            max(space.tokens) + 1,
            bundle.manifest.input_size,
            bundle.manifest.grid,
            tokens=space.tokens,
            minimum=space.minimum,
            maximum=space.maximum,
            bundle=bundle.name,
            bundle_sha256=bundle.sha256,
            delay_s=delay_s,
            fail=fail,
        )

    @property
    def info(self) -> BackendInfo:
        return self._info

    def embed(self, images: U8) -> Embedded:
        self._check_open()
        size = self._info.input_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images are {images.dtype} {images.shape}; expected uint8 (B, {size}, {size}, 3)"
            )
        with self._lock:
            self.batch_sizes.append(len(images))
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._fail is not None and (error := self._fail(images)) is not None:
            raise error
        levels = self._levels(images)
        maps = np.broadcast_to(self._maps, (len(images), *self._maps.shape))
        flat = np.ones((len(images), 1, *self._maps.shape[1:]), np.float32)
        attributes = levels * self._span + self._minimum
        return Embedded(_unit(levels), attributes, maps.copy(), flat, flat)

    def prototypes(self, class_attributes: F32) -> F32:
        self._check_open()
        count = self._info.attribute_count
        if class_attributes.ndim != 2 or class_attributes.shape[1] != count:
            raise ValueError(f"sheets have shape {class_attributes.shape}; expected (C, {count})")
        return _unit((class_attributes - self._minimum) / self._span)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the backend is closed")

    def _levels(self, images: U8) -> F32:
        """(B, S, S, 3) -> (B, A) in 0..1: the mean of each attribute's channel in its cell."""
        levels = np.empty((len(images), len(self._cells)), np.float32)
        for attribute, (top, bottom, left, right, channel) in enumerate(self._cells):
            rows = _pixels(top, bottom, images.shape[1])
            columns = _pixels(left, right, images.shape[2])
            levels[:, attribute] = images[:, rows, columns, channel].mean(axis=(1, 2)) / 255
        return levels


def write_fake_bundle(
    path: Path | str,
    classes: Mapping[str, Mapping[str, str]] = FAKE_CLASSES,
    attributes: Mapping[str, Sequence[str]] = FAKE_ATTRIBUTES,
    input_size: int = 32,
    calibration: Mapping[str, float] | None = None,
) -> Bundle:
    """Write a bundle without weights, for `FakeBackend.of`.

    Args:
        path: the folder; its name becomes the bundle's.
        classes: name -> a sheet of choices. Ids are the names in lower case, spaces as `-`.
        attributes: group -> its values; the scale is 0..100.
        calibration: `known_threshold` and `sheet_counts`, if it has them.
    """
    path = Path(path)
    pairs = [(group, value) for group, values in attributes.items() for value in values]
    order = list(attributes)
    count = len(pairs)
    space = AttributeSpace(
        names=tuple(group + SEPARATOR + value for group, value in pairs),
        groups=tuple(group for group, _ in pairs),
        tokens=tuple(order.index(group) for group, _ in pairs),
        minimum=np.zeros(count, np.float32),
        maximum=np.full(count, 100, np.float32),
        mean=np.zeros(count, np.float32),
    )
    sheets = {name: fill(sheet, space).values for name, sheet in classes.items()}
    mean = np.asarray(np.mean(list(sheets.values()), axis=0), np.float32)
    manifest = Manifest(
        name=path.name,
        network={},
        input_size=input_size,
        embedding_dim=count + 1,
        grid=(4, 4),
        attributes=replace(space, mean=mean),
        temperature=0.1,
        gamma=0.5,
        calibration=dict(calibration or {}),
        licence="No weights and no data: for tests.",
    )
    rows = tuple(
        BundleClass(name.lower().replace(" ", "-"), name, tuple(map(float, sheet)))
        for name, sheet in sheets.items()
    )
    return write(path, manifest, rows)


def draw(values: F32, space: AttributeSpace, size: int = 96, image_format: str = "PNG") -> bytes:
    """A picture (size x size) that `FakeBackend` reads as the sheet `values` (A,), as a file."""
    levels = (values - space.minimum) / (space.maximum - space.minimum)
    pixels = np.zeros((size, size, _CHANNELS), np.uint8)
    cells = _cells(space.tokens, max(space.tokens) + 1)
    for level, (top, bottom, left, right, channel) in zip(levels, cells, strict=True):
        pixels[_pixels(top, bottom, size), _pixels(left, right, size), channel] = round(255 * level)
    options = {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {}
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()


_Cell = tuple[float, float, float, float, int]  # top, bottom, left, right (0..1), channel


def _cells(tokens: Sequence[int], token_count: int) -> list[_Cell]:
    """Where each attribute is read."""
    seen = [0] * token_count
    ranks = []
    for token in tokens:
        ranks.append(seen[token])
        seen[token] += 1
    cells = []
    for token, rank in zip(tokens, ranks, strict=True):
        columns = -(-seen[token] // _CHANNELS)
        column, channel = divmod(rank, _CHANNELS)
        cells.append(
            (
                token / token_count,
                (token + 1) / token_count,
                column / columns,
                (column + 1) / columns,
                channel,
            )
        )
    return cells


def _pixels(low: float, high: float, size: int) -> slice:
    """The pixels of an interval: at least one, and neighbouring intervals share none."""
    first = min(round(low * size), size - 1)
    return slice(first, max(round(high * size), first + 1))


def _band_maps(token_count: int, grid: tuple[int, int]) -> F32:
    """(T, h, w): how much of each grid cell lies in the token's band; each map sums to 1."""
    height, width = grid
    rows = np.arange(height)
    maps = np.empty((token_count, height, width), np.float32)
    for token in range(token_count):
        top, bottom = token * height / token_count, (token + 1) * height / token_count
        overlap = (np.minimum(rows + 1, bottom) - np.maximum(rows, top)).clip(min=0)
        maps[token] = (overlap / (overlap.sum() * width))[:, None]
    return maps


def _unit(levels: F32) -> F32:
    """(N, A) in 0..1 -> (N, A + 1) unit rows, never zero: the last column is a small constant."""
    rows = np.concatenate([levels - 0.5, np.full((len(levels), 1), 0.1)], axis=1)
    result: F32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return result
