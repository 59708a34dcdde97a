"""Animals with Attributes 2 in its official layout (Xian et al. 2017, arXiv:1707.00600).

    JPEGImages/<class>/*.jpg            37,322 photographs of 50 classes
    classes.txt, predicates.txt         "1 antelope", "1 black": the matrix's rows and columns
    predicate-matrix-continuous.txt     50 x 85, in percent; -1 is a missing value

and xlsa17's `AWA2_att_splits.mat` (or `att_splits.mat`), in the folder or beside it.

**The order of images.** The split's indices point into the order of xlsa17's `res101.mat`. Where
that file lies in the folder or beside it, it tells the order. Without it the order is that of
names: folders, then their files, "antelope/antelope_10001.jpg" first. Classes differ in size, so
that another order would tear them apart, which `model.data.proposed` refuses. Labels always come
from the folders.

A "+" can't be in a class id: the class of the folder `grizzly+bear` is `grizzly_bear`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.data.build import Found, build, numbers
from model.data.folder import SUFFIXES
from model.data.missing import fill_missing
from model.data.problems import Problems
from model.data.proposed import Published, proposed_splits
from model.data.tables import numbered_lines, rows
from model.data.types import ZeroShotData
from model.data.xlsa17 import ProposedSplit, read_proposed

FOLDER = "JPEGImages"
MATRIX = "predicate-matrix-continuous.txt"
PERCENT = (0.0, 100.0)
MISSING = -1.0
TOLERANCE = 0.01  # both files have two decimals
PUBLISHED = Published(images=37_322, seen=40, unseen=10)


def read_awa2(
    root: Path, *, check_images: bool = True, published: Published = PUBLISHED
) -> ZeroShotData:
    """Read photographs, attributes (0 to 100) and the proposed split.

    Args:
        root: the folder with JPEGImages/, classes.txt, predicates.txt and the matrix.
        check_images: decode every image at its cheapest, to name the broken ones now.
        published: the counts to hold the folder against.

    Raises:
        DatasetError: `problems` names everything that is wrong.
    """
    root = Path(root)
    problems = Problems(root)
    classes = tuple(numbered_lines(root / "classes.txt", problems).values())
    predicates = tuple(numbered_lines(root / "predicates.txt", problems).values())
    matrix = rows(root / MATRIX, problems)
    split, order = read_proposed(root, "AWA2", FOLDER, problems)
    files = order.files if order else _by_name(root / FOLDER, problems)
    # Without these everything else would be named as wrong too.
    if split is None or not all((classes, predicates, matrix, files)):
        problems.raise_if_any()
    assert split is not None

    if len(matrix) != len(classes):
        problems.add(f"{MATRIX} has {len(matrix)} rows, expected {len(classes)}, one a class")
    sheets = {}
    for name, row in zip(classes, matrix, strict=False):
        values = numbers(row, predicates, f"class {name!r}", problems)
        if values is not None:
            sheets[name] = [np.nan if value == MISSING else value for value in values]
    if set(classes) != set(split.class_names):
        problems.add(f"classes.txt and {problems.relative(split.path)} name different classes")
    problems.extend(_differences(sheets, split, problems.relative(split.path)))
    sheets = {class_id(name): sheet for name, sheet in sheets.items()}
    split = replace(split, class_names=tuple(map(class_id, split.class_names)))
    images = tuple((class_id(file.split("/")[0]), file) for file in files)
    splits = proposed_splits(split, images, published, problems, order)
    filled, notes = fill_missing(sheets, predicates, splits.seen, problems)
    found = Found(
        root=root,
        classes=tuple(map(class_id, classes)),
        images=images,
        attribute_names=predicates,
        sheets=filled,
        splits=splits,
        train=splits.train or (),
        folder=FOLDER,
        notes=notes,
    )
    return build(found, PERCENT, check_images, problems)


def is_awa2(root: Path) -> bool:
    """Whether `root` has the official layout."""
    return (root / FOLDER).is_dir() or (root / MATRIX).is_file()


def class_id(folder: str) -> str:
    return folder.replace("+", "_")


def _by_name(top: Path, problems: Problems) -> tuple[str, ...]:
    if not top.is_dir():
        problems.add(f"{top.name}/ is missing: it holds one folder a class")
        return ()
    files = [
        f"{folder.name}/{file.name}"
        for folder in sorted(top.iterdir())
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        problems.add(f"{top.name}/ holds no image")
    return tuple(files)


def _differences(
    sheets: Mapping[str, Sequence[float]], split: ProposedSplit, file: str
) -> list[str]:
    """Classes whose row of the matrix is not what xlsa17 has for them."""
    if split.attributes is None:
        return []
    theirs = dict(zip(split.class_names, split.attributes, strict=True))
    found = []
    for name, sheet in sheets.items():
        other = theirs.get(name)
        if other is None:
            continue
        if len(other) != len(sheet):
            return [f"{MATRIX} has {len(sheet)} attributes, {file} has {len(other)}"]
        own = np.nan_to_num(sheet, nan=MISSING)
        if count := int((np.abs(own - other) > TOLERANCE).sum()):
            found.append(f"class {name!r}: {count} attributes differ between {MATRIX} and {file}")
    return found
