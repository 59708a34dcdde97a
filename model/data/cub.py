"""CUB-200-2011 in its official layout (Wah et al. 2011, CNS-TR-2011-001).

Which classes are seen says a `splits.json` in the folder, or without one xlsa17's `att_splits.mat`
or `CUB_sent_splits.mat` in it or beside it (`model.data.xlsa17`).

`train_test_split.txt` flags images of all 200 classes. With `splits.json` the flag counts for seen
classes only: every image of an unseen class is test. A "train" list in `splits.json` takes the
flags' place, and so do the locations of the proposed split (Xian et al. 2017, arXiv:1707.00600):
rows of `images.txt`. Of that file only they are used, and the names to check them by; the class
attributes are CUB's own, never sentence features.
"""

from collections.abc import Mapping
from pathlib import Path

from model.data.build import Found, build, numbers
from model.data.problems import Problems
from model.data.proposed import Published, proposed_splits
from model.data.splits import FILE, read_splits
from model.data.tables import numbered_lines, rows
from model.data.types import ZeroShotData
from model.data.xlsa17 import find_split, read_split

MATRIX = "attributes/class_attribute_labels_continuous.txt"
PERCENT = (0.0, 100.0)
PUBLISHED = Published(images=11_788, seen=150, unseen=50)


def read_cub(
    root: Path, *, check_images: bool = True, published: Published = PUBLISHED
) -> ZeroShotData:
    """Read photographs, attributes (percent of annotators, 0 to 100) and classes.

    `attributes.txt` may lie in `attributes/`, in `root`, or one folder up, as in the archive.

    Args:
        root: the folder with images.txt, classes.txt, attributes/, images/ and splits.json.
        check_images: decode every image at its cheapest, to name the broken ones now.
        published: the counts to hold a folder with xlsa17's splits against.

    Raises:
        DatasetError: `problems` names everything that is wrong.
    """
    root = Path(root)
    problems = Problems(root)
    own_splits = (root / FILE).is_file()
    split_file = None if own_splits else find_split(root, "CUB")
    class_of = numbered_lines(root / "classes.txt", problems)
    image_of = numbered_lines(root / "images.txt", problems)
    label_of = numbered_lines(root / "image_class_labels.txt", problems)
    # The proposed split divides the images itself.
    flag_of = {} if split_file else numbered_lines(root / "train_test_split.txt", problems)
    attribute_of = numbered_lines(_attributes_file(root), problems)
    split = read_split(split_file, problems) if split_file else None
    if not own_splits and not split_file:
        problems.add(
            f'{FILE} is missing: {{"seen": [class names], "unseen": [...]}}; '
            "xlsa17's att_splits.mat would do as well"
        )
    matrix = rows(root / MATRIX, problems)
    # Without these everything else would be named as wrong too.
    if not all((class_of, image_of, label_of, flag_of or split, attribute_of, matrix)):
        problems.raise_if_any()

    problems.duplicates("class", class_of.values())
    images, train = _images(image_of, class_of, label_of, None if split else flag_of, problems)
    classes = tuple(class_of.values())
    if split:
        if list(image_of) != [str(number) for number in range(1, len(image_of) + 1)]:
            problems.add("images.txt is not numbered from 1 on, as the official one is")
        # An image without a class would shift all rows behind it.
        problems.raise_if_any()
        splits = proposed_splits(split, images, published, problems)
    else:
        splits = read_splits(root / FILE, classes, set(image_of.values()), problems)
    if splits.train is not None:
        train = set(splits.train)
    names = tuple(attribute_of.values())
    sheets = {}
    if len(matrix) != len(classes):
        problems.add(f"{MATRIX} has {len(matrix)} rows, expected {len(classes)}, one a class")
    for name, row in zip(classes, matrix, strict=False):
        if name in {*splits.seen, *splits.unseen}:
            values = numbers(row, names, f"class {name!r}", problems)
            if values is not None:
                sheets[name] = values
    found = Found(root, classes, tuple(images), names, sheets, splits, train)
    return build(found, PERCENT, check_images, problems)


def is_cub(root: Path) -> bool:
    """Whether `root` has the official layout."""
    return (root / "images.txt").is_file() and (root / "attributes").is_dir()


def _images(
    image_of: Mapping[str, str],
    class_of: Mapping[str, str],
    label_of: Mapping[str, str],
    flag_of: Mapping[str, str] | None,
    problems: Problems,
) -> tuple[list[tuple[str, str]], set[str]]:
    """(class, file) of all images, and the files that are flagged for training, if flags count."""
    images, train = [], set()
    for number, image in image_of.items():
        label = label_of.get(number)
        flag = "0" if flag_of is None else flag_of.get(number)
        if label is None or flag not in {"0", "1"}:
            problems.add(f"image {number} ({image}) needs a class and a train flag of 0 or 1")
        elif label not in class_of:
            problems.add(
                f"image {number} ({image}) is of class {label}, which is not in classes.txt"
            )
        else:
            images.append((class_of[label], image))
            if flag == "1":
                train.add(image)
    problems.extend(
        f"{file} has {key}, which is not in images.txt"
        for file, table in (
            ("image_class_labels.txt", label_of),
            ("train_test_split.txt", flag_of or {}),
        )
        for key in table
        if key not in image_of
    )
    return images, train


def _attributes_file(root: Path) -> Path:
    official = root / "attributes" / "attributes.txt"
    places = (official, root / "attributes.txt", root.resolve().parent / "attributes.txt")
    return next((place for place in places if place.is_file()), official)
