"""The proposed split laid over a list of images: which classes are seen, and whether it fits.

The indices point into xlsa17's own order of images. Over another order nothing would fail, and
every label would be wrong. What shows it is that the split is one of classes: all images of an
unseen class are in `test_unseen_loc`, and none of a seen one. Two images of one class that changed
places are not to be seen; they would only change places between training and test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.problems import Problems, few
from model.data.splits import Splits
from model.data.xlsa17 import ImageOrder, ProposedSplit


@dataclass(frozen=True)
class Published:
    """What a data set's authors and Xian et al. 2017 count."""

    images: int
    seen: int  # classes
    unseen: int


def proposed_splits(
    split: ProposedSplit,
    images: Sequence[tuple[str, str]],
    published: Published,
    problems: Problems,
    order: ImageOrder | None = None,
) -> Splits:
    """The classes' roles, and the images to train on.

    Args:
        split: what the .mat file says.
        images: (class, file) of all images, in xlsa17's order.
        published: the counts to hold the data against.
        problems: takes what doesn't fit.
        order: where `images` has its order from, to compare its labels with.

    Raises:
        DatasetError: the indices don't fit the images, so that their labels would be wrong.
    """
    file = problems.relative(split.path)
    if len(images) != published.images:
        problems.add(f"there are {len(images):,} images, published are {published.images:,}")
    _check_indices(split, len(images), file, problems)
    _check_names({name for name, _ in images}, split, file, problems)
    if order is not None:
        _check_labels(order, split, [name for name, _ in images], problems)
    # Whoever's indices don't fit has no classes to speak of.
    problems.raise_if_any()

    labels = np.array([name for name, _ in images])

    def classes(indices: NDArray[np.int64]) -> set[str]:
        return {str(name) for name in np.unique(labels[indices])}

    unseen = classes(split.test_unseen)
    seen = classes(split.trainval) | classes(split.test_seen)
    validation = classes(split.val)
    why = "the images are not in the order that its indices point into"
    if both := seen & unseen:
        problems.add(f"{file} doesn't fit: {_are(both)} both seen and unseen; {why}")
    elif both := validation & (classes(split.train) | unseen):
        problems.add(f"{file} doesn't fit: {_are(both)} for validation and for more; {why}")
    # Classes that are torn apart are not worth counting.
    problems.raise_if_any()
    for role, found, expected in (
        ("seen", seen, published.seen),
        ("unseen", unseen, published.unseen),
    ):
        if len(found) != expected:
            problems.add(f"{file} has {len(found)} {role} classes, published are {expected}")
    problems.raise_if_any()

    known = tuple(dict.fromkeys(name for name, _ in images))

    def ordered(chosen: set[str]) -> tuple[str, ...]:
        return tuple(name for name in known if name in chosen)

    train = frozenset(images[index][1] for index in split.trainval)
    return Splits(ordered(seen), ordered(unseen), ordered(validation), train)


def _check_indices(split: ProposedSplit, count: int, file: str, problems: Problems) -> None:
    indices = np.concatenate([split.trainval, split.test_seen, split.test_unseen])
    highest = int(max(indices.max(), split.train.max(), split.val.max()))
    if highest >= count:
        problems.add(f"{file} points to image {highest + 1:,}, there are {count:,}")
    elif not np.array_equal(np.sort(indices), np.arange(count)):
        left_out = count - len(np.unique(indices))
        problems.add(
            f"{file} gives {len(indices):,} places to {count:,} images and leaves {left_out:,} "
            "out; expected one place for each image"
        )


def _check_names(names: set[str], split: ProposedSplit, file: str, problems: Problems) -> None:
    known = set(split.class_names)
    if extra := names - known:
        problems.add(f"{_are(extra)} not among the classes of {file}")
    if lacking := known - names:
        problems.add(f"{_are(lacking)} among the classes of {file}, without any image")


def _check_labels(
    order: ImageOrder, split: ProposedSplit, names: Sequence[str], problems: Problems
) -> None:
    file = problems.relative(order.path)
    if order.labels.min() < 0 or order.labels.max() >= len(split.class_names):
        problems.add(f"{file}: labels are not from 1 to {len(split.class_names)}")
        return
    labelled = np.array(split.class_names)[order.labels]
    wrong = np.flatnonzero(labelled != np.array(names))
    if len(wrong):
        at = wrong[0]
        problems.add(
            f"{file} labels {len(wrong):,} images with another class than their folder's, "
            f"for instance {order.files[at]} with {str(labelled[at])!r}"
        )


def _are(names: Iterable[str]) -> str:
    """'a', 'b' and 4 more are"""
    chosen = sorted(names)
    return f"{few(map(repr, chosen))} {'is' if len(chosen) == 1 else 'are'}"
