"""How accuracy falls as the object takes less of the frame, and what a second look gives back.

Test photographs, crops that their object fills, are put into larger frames (`model.data.frames`)
and classified after one look, after two, and at the crop's true window, which is what a perfect
second look would see.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import look, preprocess
from model.bundle import Bundle
from model.data.frames import frame
from model.data.images import opened
from model.data.types import ZeroShotData
from model.errors import ConfigError, DatasetError
from model.metrics import czsl
from model.preprocess import Box
from model.runtime.base import F32, Backend, Embedded
from model.scoring import cosine_logits
from model.training.features import Progress
from model.training.heads import columns_of

SHARES = (1.0, 0.5, 0.25, 0.1)
BACKGROUNDS = 200  # training photographs that the surroundings are made from
SEED = 0


@dataclass(frozen=True)
class Point:
    """Fractions in [0, 1], at one share of the frame's area."""

    share: float
    once: float  # CZSL: per-class accuracy among the chosen classes
    twice: float
    window: float  # a second look at the true window
    overlap: float  # intersection over union of the second look's window and the true one, mean


@dataclass(frozen=True)
class Curve:
    """What `umzero evaluate --frames` prints."""

    on: str
    photographs: int
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def frames_curve(
    backend: Backend,
    bundle: Bundle,
    data: ZeroShotData,
    on: str = "validation",
    shares: Sequence[float] = SHARES,
    progress: Progress = lambda *_: None,
) -> Curve:
    """Measure the curve on test photographs.

    Args:
        on: "validation": the validation classes' test photographs, among those classes. A bundle
            was trained on other photographs of these classes, so that the figures stand beside
            each other and not beside CZSL. "unseen": CZSL itself; not to choose anything by.

    Raises:
        ConfigError: `on` is neither.
        DatasetError: the data's attributes aren't the bundle's, or there is no photograph.
    """
    if data.attribute_names != bundle.manifest.attributes.names:
        raise DatasetError(f"{data.name} has other attributes than the bundle {bundle.name}")
    classes, images = _chosen(data, on)
    truth = columns_of(data.labels[images], classes)
    sheets = data.class_attributes[list(classes)].astype(np.float32)
    prototypes = backend.prototypes(sheets)
    pool = np.random.default_rng(SEED).permutation(data.train)[:BACKGROUNDS]
    backgrounds = [opened(data.images[i]) for i in pool]

    def accuracy(embeddings: list[F32]) -> float:
        logits = cosine_logits(np.stack(embeddings), prototypes, bundle.manifest.temperature)
        return czsl(logits, truth, np.arange(len(classes)))

    points = []
    for number, share in enumerate(shares):
        seen = []
        for row, image in enumerate(images):
            crop = opened(data.images[image])
            # The crop keeps its pixels, as an object in a larger photograph has them.
            size = round(math.sqrt(crop.width * crop.height / share))
            generator = np.random.default_rng((SEED, int(image), round(1000 * share)))
            seen.append(_looks(backend, *frame(crop, share, backgrounds, generator, size)))
            progress(number * len(images) + row + 1, len(shares) * len(images))
        once, twice, window = (
            accuracy([getattr(looks, name) for looks in seen])
            for name in ("once", "twice", "window")
        )
        overlap = float(np.mean([looks.overlap for looks in seen]))
        points.append(Point(share, once, twice, window, overlap))
    return Curve(on, len(images), tuple(points))


@dataclass(frozen=True, eq=False)
class _Looks:
    """Embeddings (D,) of one frame, and the overlap of the window that was found."""

    once: F32
    twice: F32
    window: F32
    overlap: float


def _looks(backend: Backend, whole: Image.Image, box: Box) -> _Looks:
    view = preprocess.clipped(whole.size)
    first = _look(backend, whole)
    once = first.embedding[0]
    found = look.window(look.foreground(first.fine[0], first.coarse[0]), view)
    perfect = look.Window(box, box[2] * box[3] / (view[2] * view[3]))
    twice, window = (
        look.combined(once, _look(backend, whole, w.box).embedding[0], w.share)
        for w in (found, perfect)
    )
    return _Looks(once, twice, window, intersection_over_union(found.box, box))


def intersection_over_union(first: Box, second: Box) -> float:
    """Of two boxes x, y, w, h with areas above 0."""
    common = 1.0
    for axis in (0, 1):
        low = max(first[axis], second[axis])
        high = min(first[axis] + first[axis + 2], second[axis] + second[axis + 2])
        common *= max(high - low, 0)
    return common / (first[2] * first[3] + second[2] * second[3] - common)


def _chosen(data: ZeroShotData, on: str) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Class indices, and the images that are scored."""
    if on not in ("validation", "unseen"):
        raise ConfigError(f"--on takes validation or unseen, not {on!r}")
    classes, tests = (
        (data.validation, data.test_seen) if on == "validation" else (data.unseen, data.test_unseen)
    )
    images = tests[np.isin(data.labels[tests], classes)]
    missing = set(classes) - {int(c) for c in data.labels[images]}
    if not classes or missing:
        raise DatasetError(
            f"{data.name} has {len(classes)} {on} classes, {len(missing)} of them without a test "
            "photograph; each needs one"
        )
    return classes, images


def _look(backend: Backend, image: Image.Image, box: Box | None = None) -> Embedded:
    return backend.embed(preprocess.fit(image, backend.info.input_size, box)[None])
