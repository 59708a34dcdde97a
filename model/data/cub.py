"""CUB-200-2011 in its official layout (Wah et al. 2011, CNS-TR-2011-001), with a `splits.json`.

`train_test_split.txt` flags images of all 200 classes. Here the flag counts for seen classes only:
every image of an unseen class is test (Xian et al. 2017, arXiv:1707.00600). A "train" list in
`splits.json` takes the flags' place.
"""

from pathlib import Path

from model.data.build import Found, build, numbers
from model.data.problems import Problems
from model.data.splits import FILE, read_splits
from model.data.types import ZeroShotData

MATRIX = "attributes/class_attribute_labels_continuous.txt"
PERCENT = (0.0, 100.0)


def read_cub(root: Path, *, check_images: bool = True) -> ZeroShotData:
    """Read photographs, attributes (percent of annotators, 0 to 100) and classes.

    `attributes.txt` may lie in `attributes/`, in `root`, or one folder up, as in the archive.

    Args:
        root: the folder with images.txt, classes.txt, attributes/, images/ and splits.json.
        check_images: decode every image at its cheapest, to name the broken ones now.

    Raises:
        DatasetError: `problems` names everything that is wrong.
    """
    root = Path(root)
    problems = Problems(root)
    class_of = _table(root / "classes.txt", problems)
    image_of = _table(root / "images.txt", problems)
    label_of = _table(root / "image_class_labels.txt", problems)
    flag_of = _table(root / "train_test_split.txt", problems)
    attribute_of = _table(_attributes_file(root), problems)
    if not (root / FILE).is_file():
        problems.add(f'{FILE} is missing: {{"seen": [class names], "unseen": [...]}}')
    rows = _rows(root / MATRIX, problems)
    # Without these everything else would be named as wrong too.
    if not all((class_of, image_of, label_of, flag_of, attribute_of, rows)):
        problems.raise_if_any()

    problems.duplicates("class", class_of.values())
    images, train = [], set()
    for number, image in image_of.items():
        label, flag = label_of.get(number), flag_of.get(number)
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
            ("train_test_split.txt", flag_of),
        )
        for key in table
        if key not in image_of
    )
    classes = tuple(class_of.values())
    splits = read_splits(root / FILE, classes, set(image_of.values()), problems)
    if splits.train is not None:
        train = set(splits.train)
    names = tuple(attribute_of.values())
    sheets = {}
    if len(rows) != len(classes):
        problems.add(f"{MATRIX} has {len(rows)} rows, expected {len(classes)}, one a class")
    for name, row in zip(classes, rows, strict=False):
        if name in {*splits.seen, *splits.unseen}:
            values = numbers(row, names, f"class {name!r}", problems)
            if values is not None:
                sheets[name] = values
    found = Found(root, classes, tuple(images), names, sheets, splits, train)
    return build(found, PERCENT, check_images, problems)


def is_cub(root: Path) -> bool:
    """Whether `root` has the official layout."""
    return (root / "images.txt").is_file() and (root / "attributes").is_dir()


def _attributes_file(root: Path) -> Path:
    official = root / "attributes" / "attributes.txt"
    places = (official, root / "attributes.txt", root.resolve().parent / "attributes.txt")
    return next((place for place in places if place.is_file()), official)


def _table(path: Path, problems: Problems) -> dict[str, str]:
    """Lines of "number text" -> {number: text}; a line that isn't one is a problem."""
    text = problems.text(path)
    table: dict[str, str] = {}
    for at, line in enumerate((text or "").splitlines(), 1):
        match line.split(maxsplit=1):
            case [key, value] if key not in table:
                table[key] = value.strip()
            case [key, _]:
                problems.add(f"{problems.relative(path)}:{at} has {key} a second time")
            case []:
                pass
            case _:
                problems.add(f"{problems.relative(path)}:{at} is {line!r}, expected two columns")
    if text is not None and not table:
        problems.add(f"{problems.relative(path)} is empty")
    return table


def _rows(path: Path, problems: Problems) -> list[list[str]]:
    text = problems.text(path)
    rows = [line.split() for line in (text or "").splitlines() if line.strip()]
    if text is not None and not rows:
        problems.add(f"{problems.relative(path)} is empty")
    return rows
