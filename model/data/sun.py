"""The SUN Attribute Database in its official layout (Patterson and Hays, CVPR 2012).

    SUNAttributeDB/images.mat       14,340 paths below images/, "a/abbey/sun_....jpg"
    SUNAttributeDB/attributes.mat   102 names
    SUNAttributeDB/attributeLabels_continuous.mat    14,340 x 102 shares of three votes
    images/                         here, or in SUNAttributeDB/

and xlsa17's `SUN_att_splits.mat` (or `att_splits.mat`), in the folder or beside it. A class is
named by the folders between the letter and the file: `a/apse/indoor` is `apse_indoor`. Its
attributes are the .mat's `original_att`, 0 to 1: the mean votes of its images, which is checked.

**The order of images.** The split's indices point into the order of xlsa17's `res101.mat`. Where
that file lies in the folder or beside it, it tells the order. Without it the order is that of
`images.mat`. All classes have 20 images there, so two whole classes in each other's place would
pass as a split of classes; therefore the classes must also come in the order of the .mat's
`allclasses_names`. Labels always come from the paths.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.data.build import Found, build
from model.data.problems import Problems, few
from model.data.proposed import Published, proposed_splits
from model.data.types import ZeroShotData
from model.data.xlsa17 import (
    ProposedSplit,
    read_matrix,
    read_proposed,
    read_strings,
)
from model.runtime.base import F64

DATABASE = "SUNAttributeDB"
VOTES = "attributeLabels_continuous.mat"
SHARES = (0.0, 1.0)
TOLERANCE = 1e-3  # one vote more or less in a class is 1/60
PUBLISHED = Published(images=14_340, seen=645, unseen=72)


def read_sun(
    root: Path, *, check_images: bool = True, published: Published = PUBLISHED
) -> ZeroShotData:
    """Read photographs, attributes (0 to 1) and the proposed split.

    Args:
        root: the folder with SUNAttributeDB/ and images/.
        check_images: decode every image at its cheapest, to name the broken ones now.
        published: the counts to hold the folder against.

    Raises:
        DatasetError: `problems` names everything that is wrong.
    """
    root = Path(root)
    problems = Problems(root)
    database = root / DATABASE
    listed = read_strings(database / "images.mat", "images", problems)
    names = read_strings(database / "attributes.mat", "attributes", problems)
    votes = read_matrix(database / VOTES, "labels_cv", problems)
    split, order = read_proposed(root, "SUN", "images", problems)
    folder = "images" if (root / "images").is_dir() else f"{DATABASE}/images"
    if not (root / folder).is_dir():
        problems.add("images/ is missing")
    # Without these everything else would be named as wrong too.
    problems.raise_if_any()
    assert listed is not None
    assert names is not None
    assert votes is not None
    assert split is not None

    classes = tuple(dict.fromkeys(map(class_of, listed)))
    file = problems.relative(split.path)
    attributes = split.attributes
    if attributes is None or attributes.shape != (len(split.class_names), len(names)):
        found_shape = "nothing" if attributes is None else f"{attributes.T.shape}"
        problems.add(
            f"{file}: original_att is {found_shape}, "
            f"expected {len(names)} attributes x {len(split.class_names)} classes"
        )
        problems.raise_if_any()
    assert attributes is not None
    sheets = dict(zip(split.class_names, attributes, strict=True))
    problems.extend(_differences(sheets, listed, votes, file))
    if order is None and classes != split.class_names:
        problems.add(_other_order(classes, split, file))
    images = tuple((class_of(path), path) for path in (order.files if order else listed))
    splits = proposed_splits(split, images, published, problems, order)
    found = Found(
        root=root,
        classes=classes,
        images=images,
        attribute_names=names,
        sheets={name: sheet.tolist() for name, sheet in sheets.items()},
        splits=splits,
        train=splits.train or (),
        folder=folder,
    )
    return build(found, SHARES, check_images, problems)


def is_sun(root: Path) -> bool:
    """Whether `root` has the official layout."""
    return (root / DATABASE).is_dir()


def class_of(path: str) -> str:
    """a/apse/indoor/sun_x.jpg is of apse_indoor."""
    return "_".join(path.strip("/").split("/")[1:-1])


def _other_order(classes: Sequence[str], split: ProposedSplit, file: str) -> str:
    pairs = zip(classes, split.class_names, strict=False)
    at, (own, theirs) = next(
        ((at, pair) for at, pair in enumerate(pairs) if pair[0] != pair[1]),
        (min(len(classes), len(split.class_names)), ("nothing", "nothing")),
    )
    return (
        f"{DATABASE}/images.mat has {own!r} as class {at + 1}, {file} has {theirs!r}: the order of "
        "images is unknown; put xlsa17's SUN res101.mat into the folder, which tells it"
    )


def _differences(sheets: dict[str, F64], listed: Sequence[str], votes: F64, file: str) -> list[str]:
    """Whether xlsa17's attributes are what the votes say; if not, names are mixed up."""
    expected = (len(listed), len(next(iter(sheets.values()))))
    if votes.shape != expected:
        return [f"{DATABASE}/{VOTES} has the shape {votes.shape}, expected {expected}"]
    owners = np.array([class_of(path) for path in listed])
    wrong = [
        name
        for name in dict.fromkeys(owners.tolist())
        if name in sheets
        and np.abs(votes[owners == name].mean(axis=0) - sheets[name]).max() > TOLERANCE
    ]
    if not wrong:
        return []
    return [
        f"the mean votes of {len(wrong)} classes are not the attributes that {file} has for them, "
        f"for instance {few(map(repr, wrong))}; the names and the rows don't belong together"
    ]
