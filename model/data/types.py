"""What every reader gives: one data set, checked, ready for training and evaluation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32


@dataclass(frozen=True, eq=False)
class ZeroShotData:
    """N images, K classes, A attributes. Only classes that are seen or unseen are in it.

    Images of unseen classes are all in `test_unseen`. `validation` are the seen classes to play
    unseen while something is tuned, so that no choice is made on the unseen ones.
    """

    name: str
    images: tuple[Path, ...]  # (N,)
    labels: NDArray[np.int64]  # (N,), index into class_names
    class_names: tuple[str, ...]  # (K,), "001.Black_footed_Albatross"; the bundle's class ids
    display_names: tuple[str, ...]  # (K,), "Black footed Albatross"
    class_attributes: F32  # (K, A), on the sheet's scale
    attribute_names: tuple[str, ...]  # (A,)
    attribute_groups: tuple[str, ...]  # (A,)
    minimum: F32  # (A,), the scale's bounds
    maximum: F32  # (A,)
    seen: tuple[int, ...]  # class indices
    unseen: tuple[int, ...]
    validation: tuple[int, ...]  # a subset of seen
    train: NDArray[np.int64]  # image indices, seen classes only
    test_seen: NDArray[np.int64]
    test_unseen: NDArray[np.int64]
    notes: tuple[str, ...] = ()  # what a reader did to the data on the way, for people
