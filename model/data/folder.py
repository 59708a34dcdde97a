"""Anyone's data: `images/<class>/*`, `attributes.csv`, and if you like a `splits.json`.

    class,has_wings,legs::two,legs::four        the first column is the folder's name
    robin,100,100,0                             a name before :: groups attributes; a plain name
    horse,0,0,100                               is a group of its own

**Scale.** 0 to 1 when every number is within it; else 0 to 100 when every number is within that;
else from the smallest to the largest number there is.

**Missing values.** An empty cell, "?" or "nan" takes the mean of that attribute over the seen
classes that have it; see `model.data.missing`.

**Splits.** See `model.data.splits`. Without the file every class is seen, a third of them serve
validation, and of each class's images 80 % train, chosen by a hash of the file's name. An image
folder that no row describes is a problem, unless `splits.json` lists "seen" without it; a row
without a folder is left out.
"""

import csv
import io
import logging
from pathlib import Path

from model.data.build import Found, build, numbers
from model.data.missing import fill_missing
from model.data.problems import Problems
from model.data.splits import FILE, Splits, read_splits, train_share
from model.data.types import ZeroShotData

TABLE = "attributes.csv"
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

log = logging.getLogger(__name__)


def read_folder(root: Path, *, check_images: bool = True) -> ZeroShotData:
    """Read a folder of classes.

    Args:
        root: the folder with images/, attributes.csv and perhaps splits.json.
        check_images: decode every image at its cheapest, to name the broken ones now.

    Raises:
        DatasetError: `problems` names everything that is wrong.
    """
    root = Path(root)
    problems = Problems(root)
    names, rows = _table(root, problems)
    folders = _folders(root, problems)
    # Without these everything else would be named as wrong too.
    if not (names and rows and folders):
        problems.raise_if_any()

    described = [name for name in rows if name in folders]
    if left_out := [name for name in rows if name not in folders]:
        log.info("classes without images left out", extra={"classes": left_out})
    # In the table's order; what only has a folder comes last and is named below.
    classes = (*described, *(name for name in folders if name not in rows))
    images = tuple((name, image) for name in classes for image in folders[name])
    files = {image for _, image in images}
    splits = read_splits(root / FILE, classes, files, problems)
    sheets = {}
    for name in (*splits.seen, *splits.unseen):
        if name not in rows:
            problems.add(f"class {name!r} has images but no row in {TABLE}")
            continue
        values = numbers(rows[name], names, f"class {name!r}", problems, gaps=True)
        if values is not None:
            sheets[name] = values
    filled, notes = fill_missing(sheets, names, splits.seen, problems)
    train = _train(splits, folders)
    found = Found(root, classes, images, names, filled, splits, train, notes=notes)
    return build(found, _bounds(filled), check_images, problems)


def _train(splits: Splits, folders: dict[str, list[str]]) -> set[str]:
    if splits.train is not None:
        return set(splits.train)
    return {image for name in splits.seen for image in train_share(folders[name])}


def _bounds(sheets: dict[str, list[float]]) -> tuple[float, float]:
    values = [value for sheet in sheets.values() for value in sheet]
    low, high = min(values, default=0.0), max(values, default=0.0)
    for bound in (1.0, 100.0):
        if low >= 0.0 and high <= bound:
            return 0.0, bound
    return low, high


def _table(root: Path, problems: Problems) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Attribute names (A,), and class -> the row's cells (A,) as text."""
    text = problems.text(root / TABLE)
    if text is None:
        return (), {}
    try:
        lines = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except csv.Error as error:
        problems.add(f"{TABLE} is no CSV: {error}")
        return (), {}
    header, *body = lines or [[]]
    names = tuple(cell.strip() for cell in header[1:])
    if not names:
        problems.add(f"{TABLE} needs a header of the class column and attributes, with commas")
    problems.extend(f"{TABLE}: column {at} has no name" for at, n in enumerate(names, 2) if not n)
    if not body:
        problems.add(f"{TABLE} describes no class")
    if any(not row[0].strip() for row in body):
        problems.add(f"{TABLE} has a row without a class name")
    problems.duplicates(f"{TABLE}: class", (row[0].strip() for row in body))
    return names, {row[0].strip(): [cell.strip() for cell in row[1:]] for row in body}


def _folders(root: Path, problems: Problems) -> dict[str, list[str]]:
    """Class -> its images as "class/file.jpg", sorted; hidden files don't count."""
    top = root / "images"
    if not top.is_dir():
        problems.add("images/ is missing: it holds one folder a class")
        return {}
    folders: dict[str, list[str]] = {}
    for folder in _visible(top):
        if not folder.is_dir():
            problems.add(f"images/{folder.name} lies outside of any class folder")
            continue
        folders[folder.name] = []
        for file in _visible(folder):
            if file.is_file() and file.suffix.lower() in SUFFIXES:
                folders[folder.name].append(f"{folder.name}/{file.name}")
            else:
                known = " ".join(sorted(SUFFIXES))
                problems.add(f"{problems.relative(file)} is no image; images end in {known}")
    if not folders:
        problems.add("images/ holds no class folder")
    return folders


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
