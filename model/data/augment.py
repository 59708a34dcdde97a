"""The second view of a training photograph: its object somewhere in a larger frame.

People send whole frames, while the photographs of a data set are often cropped to the object. To
train on both costs no accuracy on the crops (measured, docs/experiments.md).
"""

import math
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from model import preprocess
from model.data.frames import frame
from model.data.images import opened
from model.data.types import ZeroShotData

SHARES = (0.2, 1.0)  # of the frame's area that the photograph takes, evenly by the logarithm
BACKGROUNDS = 200  # photographs that the surroundings are made of
SEED = 0
_DETAIL = 2  # a frame's side, in input sizes, at most: more would be scaled away again
KEPT = 3  # a background's shorter side, likewise: 200 phone photographs as they are take 9.6 GB


class Framed(Dataset[Tensor]):
    """Image files, each in a frame made of training photographs' borders, as uint8 tensors of
    shape (S, S, 3), every other one mirrored. The same file always gets the same frame.

    Args:
        paths: what is framed.
        size: S.
        data: whose training photographs the frames are made of.
    """

    def __init__(self, paths: Sequence[Path], size: int, data: ZeroShotData) -> None:
        self._paths = tuple(paths)
        self._size = size
        chosen = np.random.default_rng(SEED).permutation(data.train)[:BACKGROUNDS]
        self._sources = [data.images[i] for i in chosen]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        """
        Raises:
            DatasetError: a file can't be read or decoded; the message names it.
        """
        path = self._paths[index]
        name = f"{path.parent.name}/{path.name}"
        number = zlib.crc32(name.encode(errors="surrogateescape"))
        generator = np.random.default_rng((SEED, number))
        crop = opened(path)
        share = math.exp(generator.uniform(math.log(SHARES[0]), math.log(SHARES[1])))
        side = min(math.sqrt(crop.width * crop.height / share), _DETAIL * self._size)
        whole, _ = frame(crop, share, self._backgrounds, generator, round(side))
        pixels = preprocess.fit(whole, self._size)
        if generator.random() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.tensor(np.ascontiguousarray(pixels))

    @cached_property
    def _backgrounds(self) -> list[Image.Image]:
        return [_shrunk(opened(path), KEPT * self._size) for path in self._sources]


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    """Its shorter side is no longer than `side`."""
    shorter = min(image.size)
    if shorter <= side:
        return image
    width, height = (round(length * side / shorter) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
