"""`umzero data check`: everything that is wrong with a data set, in one report.

Errors spoil a training or what it says of itself; warnings lower its worth; notes say what a reader
did on the way. Photographs are held against each other by their bytes: the same one saved twice in
another quality is not found.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.folder import SUFFIXES
from model.data.problems import few
from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import DatasetError

FEW_IMAGES = 5
NARROW = 0.05  # of the scale: an attribute that differs by less over all classes says little


@dataclass(frozen=True, eq=False)
class Report:
    """What was found; `data` is None where there is nothing to train on."""

    data: ZeroShotData | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The data set in one line."""
        if self.data is None:
            return "no data set"
        data = self.data
        return (
            f"{len(data.images):,} images, {len(data.class_names)} classes "
            f"({len(data.seen)} seen, {len(data.validation)} of them for validation, "
            f"{len(data.unseen)} unseen), {len(data.attribute_names)} attributes in "
            f"{len(set(data.attribute_groups))} groups"
        )


def check(root: Path) -> Report:
    """Read and judge the data set in `root`; every image is decoded and hashed.

    What is wrong is in the report. Where a folder can't be read as a data set nobody knows its
    splits, so that only copies in different folders are told.

    Raises:
        DatasetError: there is no such folder.
    """
    root = Path(root)
    try:
        data = read(root)
    except DatasetError as error:
        if not error.problems:
            raise
        return Report(None, (*error.problems, *_leaks_between_folders(root)))
    leaks, copies = _copies(data)
    return Report(data, leaks, (*warnings_of(data), *copies), data.notes)


def warnings_of(data: ZeroShotData) -> list[str]:
    """What lowers the worth of a data set that can be trained on; a moment's work, no image read.

    Returns:
        Classes with fewer than FEW_IMAGES images; attributes that separate nothing: constant
        over all classes, or equal to another one; and those that separate little, for the table's
        scale is a far larger one's.
    """
    return [*_small_classes(data), *_idle_attributes(data), *_narrow_attributes(data)]


def _small_classes(data: ZeroShotData) -> list[str]:
    found: list[str] = []
    train = np.bincount(data.labels[data.train], minlength=len(data.class_names))
    test = np.bincount(data.labels[data.test_unseen], minlength=len(data.class_names))
    for counts, classes, purpose in (
        (train, data.seen, "to train on"),
        (test, data.unseen, "to test on"),
    ):
        found.extend(
            f"class {data.class_names[c]!r} has {counts[c]} images {purpose}; "
            f"{FEW_IMAGES} or more say something"
            for c in classes
            if counts[c] < FEW_IMAGES
        )
    return found


def _idle_attributes(data: ZeroShotData) -> list[str]:
    found = []
    equal = defaultdict(list)
    for name, column in zip(data.attribute_names, data.class_attributes.T, strict=True):
        if (column == column[0]).all():
            found.append(
                f"attribute {name!r} is {column[0]:g} for every class; it separates nothing"
            )
        else:
            equal[column.tobytes()].append(name)
    found.extend(
        f"attributes {few(names)} have the same values in every class; one of them would do"
        for names in equal.values()
        if len(names) > 1
    )
    return found


def _narrow_attributes(data: ZeroShotData) -> list[str]:
    span = np.ptp(data.class_attributes, axis=0)
    narrow = (span > 0) & (span < NARROW * (data.maximum - data.minimum))
    if not narrow.any():
        return []
    names = [name for name, found in zip(data.attribute_names, narrow, strict=True) if found]
    low, high = data.minimum.min(), data.maximum.max()
    return [
        f"attributes that differ by less than {NARROW:.0%} of the table's scale, {low:g} to "
        f"{high:g}, and say little: {few(names)}; if they are in another unit than the others, "
        "bring all columns to one scale, such as 0 to 1"
    ]


def _copies(data: ZeroShotData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copies that are leaks, and a warning when there are others."""
    role = np.full(len(data.images), "train", dtype="<U11")
    role[data.test_seen] = "test seen"
    role[data.test_unseen] = "test unseen"
    index = {path: at for at, path in enumerate(data.images)}
    leaks, harmless = [], 0
    for paths in _same_bytes(data.images):
        members = [index[path] for path in paths]
        classes = sorted({data.class_names[data.labels[at]] for at in members})
        roles = sorted({str(role[at]) for at in members})
        shown = few([_short(path) for path in paths])
        if len(classes) > 1:
            leaks.append(f"{shown} are the same image, in classes {few(classes)}")
        elif len(roles) > 1:
            leaks.append(f"{shown} are the same image, in {' and '.join(roles)}")
        else:
            harmless += len(paths) - 1
    warning = f"copies of an image in the same class and split: {harmless}"
    return tuple(leaks), (warning,) if harmless else ()


def _leaks_between_folders(root: Path) -> list[str]:
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [
        f"{few([_short(path) for path in same])} are the same image, in different folders"
        for same in _same_bytes([path for path in paths if path.is_file()])
        if len({path.parent for path in same}) > 1
    ]


def _same_bytes(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of two or more files with the same content."""
    sizes = ((path.stat().st_size, path) for path in paths)
    # Empty files are equal too, and named as what can't be decoded.
    by_size = _grouped((size, path) for size, path in sizes if size)
    return _grouped((_sha256(path), path) for same in by_size for path in same)


def _grouped(pairs: Iterable[tuple[int | str, Path]]) -> list[list[Path]]:
    groups = defaultdict(list)
    for key, path in pairs:
        groups[key].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
