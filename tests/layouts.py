"""Writes the field's data sets in their official layouts, with drawn images and .mat files.

Whoever writes a .mat counts from 1, as MATLAB does.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def numbered(path: Path, values: Iterable[object], between: str = " ") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{at}{between}{value}\n" for at, value in enumerate(values, 1)))


def cells(texts: Sequence[str]) -> np.ndarray:
    """An (N, 1) cell array of texts."""
    array = np.empty((len(texts), 1), object)
    array[:, 0] = list(texts)
    return array


def write_split(
    path: Path,
    names: Sequence[str],
    classes: Sequence[str],
    unseen: Iterable[str],
    validation: Iterable[str],
    original_att: np.ndarray | None = None,
) -> None:
    """A split file in xlsa17's form: of a seen class every fourth image is test.

    Args:
        names: the class of every image, in xlsa17's order.
        classes: `allclasses_names`.
        original_att: (A, K), in the order of `classes`.
    """
    unseen, validation = set(unseen), set(validation)
    place: dict[str, int] = {}
    locations: dict[str, list[int]] = {
        f"{key}_loc": [] for key in ("trainval", "train", "val", "test_seen", "test_unseen")
    }
    for row, name in enumerate(names, 1):
        place[name] = place.get(name, -1) + 1
        if name in unseen:
            locations["test_unseen_loc"].append(row)
            continue
        locations["val_loc" if name in validation else "train_loc"].append(row)
        locations["test_seen_loc" if place[name] % 4 == 3 else "trainval_loc"].append(row)
    content = {key: np.array(rows, np.uint16)[:, None] for key, rows in locations.items()}
    content["allclasses_names"] = cells(classes)
    if original_att is not None:
        content["original_att"] = original_att
    savemat(path, content)


def write_order(path: Path, files: Sequence[str], labels: Sequence[int], below: str) -> None:
    """A `res101.mat` without features: `files` as its authors saw them, `labels` from 1 on."""
    content = {
        "image_files": cells([f"/home/authors/data//{below}/{file}" for file in files]),
        "labels": np.array(labels, np.uint16)[:, None],
    }
    savemat(path, content)


def draw(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 90)).save(path)


def link_everywhere(image: Path, paths: Iterable[Path]) -> None:
    """One image under many names: a data set's size without its bytes."""
    draw(image)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(image, path)
