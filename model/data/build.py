"""From what a reader found to a `ZeroShotData`: the checks and arrays that all readers share."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.images import check_images
from model.data.missing import is_missing
from model.data.problems import Problems, few
from model.data.splits import Splits
from model.data.types import ZeroShotData
from model.sheets import SEPARATOR

CLASS_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class Found:
    """What lies in a folder, before it is known to be any good."""

    root: Path
    classes: tuple[str, ...]  # all that there are, in the order to keep
    images: tuple[tuple[str, str], ...]  # (class, "class/file.jpg" below root/folder)
    attribute_names: tuple[str, ...]  # (A,)
    sheets: Mapping[str, Sequence[float]]  # class -> (A,)
    splits: Splits
    train: Collection[str]  # "class/file.jpg"; those of unseen classes are ignored
    folder: str = "images"  # what the images lie below
    notes: tuple[str, ...] = ()  # what was done to the data on the way


def build(
    found: Found, bounds: tuple[float, float], check: bool, problems: Problems
) -> ZeroShotData:
    """Check what was found and put it into arrays.

    Raises:
        DatasetError: with everything that is wrong, the reader's own problems included.
    """
    splits = found.splits
    roles = {*splits.seen, *splits.unseen}
    kept = tuple(name for name in found.classes if name in roles)
    images = tuple((c, i) for c, i in found.images if c in roles)
    names = [i for _, i in images]
    display = tuple(display_name(name) for name in kept)
    paths = tuple(found.root / found.folder / i for i in names)

    # The manifest and the card name the data.
    try:
        f"{found.root}{found.root.resolve().name}".encode()
    except UnicodeEncodeError:
        problems.add(f"the folder {str(found.root)!r} has a name that isn't UTF-8: rename it")
    if len(splits.seen) < 2:
        problems.add(f"{len(splits.seen)} seen classes, at least 2 are needed to learn from")
    problems.extend(
        f"class {name!r} can't be a class id: rename it to 1 to 100 of A-Z a-z 0-9 . _ -"
        for name in kept
        if not CLASS_ID.fullmatch(name)
    )
    problems.duplicates("the readable class name", display)
    problems.duplicates("attribute", found.attribute_names)
    problems.duplicates("image", names)
    with_images = {c for c, _ in images}
    problems.extend(f"class {c!r} has no images" for c in kept if c not in with_images)
    with_train = {c for c, i in images if i in found.train}
    problems.extend(
        f"seen class {c!r} has no image to train on"
        for c in splits.seen
        if c in with_images and c not in with_train
    )
    problems.extend(_out_of_bounds(found, kept, bounds))
    missing = {path for path in paths if not path.is_file()}
    problems.extend(f"{problems.relative(path)} is missing" for path in sorted(missing))
    if check:
        check_images([path for path in paths if path not in missing], problems)
    problems.raise_if_any()

    index = {name: i for i, name in enumerate(kept)}
    labels = np.array([index[c] for c, _ in images], np.int64)
    unseen = np.isin(labels, [index[c] for c in splits.unseen])
    train = np.array([i in found.train for i in names]) & ~unseen
    count = len(found.attribute_names)
    return ZeroShotData(
        name=found.root.resolve().name,
        images=paths,
        labels=labels,
        class_names=kept,
        display_names=display,
        class_attributes=np.array([found.sheets[name] for name in kept], np.float32),
        attribute_names=found.attribute_names,
        attribute_groups=tuple(name.split(SEPARATOR, 1)[0] for name in found.attribute_names),
        minimum=np.full(count, bounds[0], np.float32),
        maximum=np.full(count, bounds[1], np.float32),
        seen=tuple(index[c] for c in splits.seen),
        unseen=tuple(index[c] for c in splits.unseen),
        validation=tuple(index[c] for c in splits.validation),
        train=np.flatnonzero(train),
        test_seen=np.flatnonzero(~train & ~unseen),
        test_unseen=np.flatnonzero(unseen),
        notes=found.notes,
    )


def display_name(class_name: str) -> str:
    """Without number and underscores: 001.Black_footed_Albatross is "Black footed Albatross"."""
    return re.sub(r"^\d+\.(?=.)", "", class_name).replace("_", " ").strip() or class_name


def numbers(
    texts: Sequence[str],
    names: Sequence[str],
    owner: str,
    problems: Problems,
    *,
    gaps: bool = False,
) -> list[float] | None:
    """One sheet's numbers; None after noting each entry that is none, or a wrong count.

    With `gaps` a missing value is NaN, for `model.data.missing` to fill.
    """
    if len(texts) != len(names):
        problems.add(f"{owner} has {len(texts)} attributes, expected {len(names)}")
        return None
    values = [math.nan if gaps and is_missing(text) else _number(text) for text in texts]
    bad = [f"{n} is {t!r}" for n, t, v in zip(names, texts, values, strict=True) if v is None]
    if bad:
        problems.add(f"{owner}: {few(bad, 5)}; expected numbers")
        return None
    return [value for value in values if value is not None]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _out_of_bounds(found: Found, kept: Sequence[str], bounds: tuple[float, float]) -> list[str]:
    low, high = bounds
    problems = []
    for name in kept:
        outside = [v for v in found.sheets.get(name, ()) if not low <= v <= high]
        if outside:
            problems.append(
                f"class {name!r} has {len(outside)} attributes outside {low:g} to {high:g}, "
                f"for instance {outside[0]:g}"
            )
    return problems
