"""The proposed splits of Xian et al. 2017 (arXiv:1707.00600), as their package xlsa17 gives them.

MATLAB counts from 1: here, and only here, that becomes 0. SUN's own .mat files are read here too,
so that no other module needs scipy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.problems import Problems
from model.runtime.base import F64

LOCATIONS = ("trainval_loc", "train_loc", "val_loc", "test_seen_loc", "test_unseen_loc")
FILES = ("att_splits.mat", "sent_splits.mat")
IMAGES = "res101.mat"


@dataclass(frozen=True, eq=False)
class ProposedSplit:
    """One `*_splits.mat`. K classes, A attributes; indices count from 0.

    They point into xlsa17's own order of images. `train` and `val` divide the seen classes for
    tuning; together they hold images of `trainval` and of `test_seen`.
    """

    path: Path
    class_names: tuple[str, ...]  # (K,), in the file's order, which means nothing
    attributes: F64 | None  # (K, A), `original_att`; None where the file has none
    trainval: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test_seen: NDArray[np.int64]
    test_unseen: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageOrder:
    """xlsa17's own order of N images, from its `res101.mat`."""

    path: Path
    files: tuple[str, ...]  # (N,)
    labels: NDArray[np.int64]  # (N,), index into the split's class_names


def find_split(root: Path, data_set: str) -> Path | None:
    """The split file of `data_set` (CUB, SUN, AWA2): in `root`, beside it, or in xlsa17's folder.

    A name with the data set in it comes first: `AWA2_att_splits.mat` before `att_splits.mat`.
    """
    return _find(root, data_set, FILES)


def read_proposed(
    root: Path, data_set: str, below: str, problems: Problems
) -> tuple[ProposedSplit | None, ImageOrder | None]:
    """The split of `data_set`, whose absence is a problem, and the order of images, where it is.

    Args:
        below: of `read_image_order`.
    """
    split, order = find_split(root, data_set), _find(root, data_set, (IMAGES,))
    if split is None:
        problems.add(f"{data_set}_{FILES[0]} is missing: put xlsa17's file into the folder")
    return (
        read_split(split, problems) if split else None,
        read_image_order(order, below, problems) if order else None,
    )


def read_split(path: Path, problems: Problems) -> ProposedSplit | None:
    """Read a split file; None after noting what is wrong with it."""
    found = _load(path, ("allclasses_names", *LOCATIONS), problems)
    if found is None:
        return None
    indices = {}
    for key in LOCATIONS:
        ones = np.asarray(found[key]).ravel()
        if not len(ones) or ones.min() < 1 or (ones != np.round(ones)).any():
            problems.add(f"{problems.relative(path)}: {key} holds no indices that count from 1")
            return None
        indices[key.removesuffix("_loc")] = ones.astype(np.int64) - 1
    attributes = found.get("original_att")
    return ProposedSplit(
        path=path,
        class_names=_strings(found["allclasses_names"]),
        attributes=None if attributes is None else np.asarray(attributes, np.float64).T,
        **indices,
    )


def read_image_order(path: Path, below: str, problems: Problems) -> ImageOrder | None:
    """The files and labels of `res101.mat`; None after noting what is wrong with it.

    The file has its authors' own absolute paths, "/BS/.../JPEGImages/antelope/antelope_10001.jpg".

    Args:
        below: the folder that the paths are told relative to, "JPEGImages" here.
    """
    found = _load(path, ("image_files", "labels"), problems)
    if found is None:
        return None
    files = _strings(found["image_files"])
    labels = np.asarray(found["labels"]).ravel().astype(np.int64) - 1
    marker = f"/{below}/"
    outside = [text for text in files if marker not in text]
    if outside:
        problems.add(
            f"{problems.relative(path)}: {outside[0]!r} has no folder {below!r} in it; "
            "this is another data set's file"
        )
        return None
    if len(labels) != len(files):
        problems.add(
            f"{problems.relative(path)} has {len(labels):,} labels for {len(files):,} image_files"
        )
        return None
    return ImageOrder(path, tuple(text.rpartition(marker)[2] for text in files), labels)


def read_strings(path: Path, key: str, problems: Problems) -> tuple[str, ...] | None:
    """A cell array of texts; None after noting that it can't be had."""
    found = _load(path, (key,), problems)
    return None if found is None else _strings(found[key])


def read_matrix(path: Path, key: str, problems: Problems) -> F64 | None:
    """A matrix of numbers; None after noting that it can't be had."""
    found = _load(path, (key,), problems)
    return None if found is None else np.asarray(found[key], np.float64)


def _find(root: Path, data_set: str, files: Sequence[str]) -> Path | None:
    above = root.resolve().parent
    own = [f"{data_set}_{file}" for file in files]
    folders = [
        *((folder, [*own, *files]) for folder in (root, above)),
        *((folder / "xlsa17", own) for folder in (root, above)),
        *((folder / "xlsa17" / "data" / data_set, files) for folder in (root, above)),
    ]
    places = (folder / name for folder, names in folders for name in names)
    return next((place for place in places if place.is_file()), None)


def _load(path: Path, keys: Sequence[str], problems: Problems) -> dict[str, Any] | None:
    # A folder of one's own is read without scipy.
    from scipy.io import loadmat  # noqa: PLC0415

    if not path.is_file():
        problems.add(f"{problems.relative(path)} is missing")
        return None
    try:
        found: dict[str, Any] = loadmat(path)
    # scipy raises what it likes on damaged files: ValueError, TypeError, NotImplementedError...
    except Exception as error:  # noqa: BLE001
        problems.add(f"{problems.relative(path)} can't be read as a MATLAB file: {error}")
        return None
    missing = [key for key in keys if key not in found]
    if missing:
        problems.add(f"{problems.relative(path)} has no {', '.join(missing)}")
        return None
    return found


def _strings(cells: Any) -> tuple[str, ...]:
    return tuple(_text(cell) for cell in np.asarray(cells).ravel())


def _text(cell: Any) -> str:
    """A cell holds an array of one text, or of one cell that does."""
    while isinstance(cell, np.ndarray):
        if not cell.size:
            return ""
        cell = cell.ravel()[0]
    return str(cell).strip()
