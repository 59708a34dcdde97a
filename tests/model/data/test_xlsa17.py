"""The field's split files: the real ones, and what a broken one is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from model.data.problems import Problems
from model.data.proposed import Published, proposed_splits
from model.data.xlsa17 import find_split, read_image_order, read_split, read_strings
from model.errors import DatasetError
from tests.layouts import cells, write_order, write_split

# Xian et al. 2017, table 2: classes, attributes, and the proposed split's images.
FILES = {
    "CUB_sent_splits.mat": (200, None, 7057, 1764, 2967),
    "SUN_att_splits.mat": (717, 102, 10320, 2580, 1440),
    "AWA2_att_splits.mat": (50, 85, 23527, 5882, 7913),
}
NAMES = ["ant"] * 5 + ["bee"] * 8 + ["cat"] * 4 + ["dog"] * 6


@pytest.fixture
def folder(shared_data: Path) -> Path:
    path = shared_data / "xlsa17"
    if not path.is_dir():
        pytest.skip("needs the split files of ../shared/data/xlsa17")
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    return Problems(tmp_path)


def told(problems: Problems) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        problems.raise_if_any()
    return caught.value.problems


@pytest.mark.parametrize("file", FILES)
def test_the_real_files_have_the_published_counts(folder: Path, file: str) -> None:
    classes, attributes, trainval, test_seen, test_unseen = FILES[file]

    split = read_split(folder / file, Problems(folder))

    assert split is not None
    assert len(set(split.class_names)) == classes
    if attributes is None:
        assert split.attributes is None
    else:
        assert split.attributes is not None
        assert split.attributes.shape == (classes, attributes)
    counts = (len(split.trainval), len(split.test_seen), len(split.test_unseen))
    assert counts == (trainval, test_seen, test_unseen)


@pytest.mark.parametrize("file", FILES)
def test_every_index_of_the_real_files_is_one_less_than_in_the_file(
    folder: Path, file: str
) -> None:
    raw = loadmat(folder / file)

    split = read_split(folder / file, Problems(folder))

    for key in ("trainval", "train", "val", "test_seen", "test_unseen"):
        indices = getattr(split, key)
        assert indices.dtype == np.int64
        assert (indices + 1).tolist() == raw[f"{key}_loc"][:, 0].tolist()
    together = np.concatenate([split.trainval, split.test_seen, split.test_unseen])
    assert sorted(together) == list(range(sum(FILES[file][2:])))


def test_attributes_of_the_real_files_belong_to_the_class_of_their_column(folder: Path) -> None:
    raw = loadmat(folder / "AWA2_att_splits.mat")

    split = read_split(folder / "AWA2_att_splits.mat", Problems(folder))

    assert split is not None
    assert split.attributes is not None
    lines = (folder / "AWA2_classes.txt").read_text().split()
    assert list(split.class_names) == lines[1::2]
    predicates = (folder / "AWA2_predicates.txt").read_text().split()[1::2]
    zebra, stripes = split.class_names.index("zebra"), predicates.index("stripes")
    assert split.attributes[zebra, stripes] == raw["original_att"][stripes, zebra]
    assert split.attributes[zebra, stripes] == split.attributes[:, stripes].max()


def test_the_real_cub_rows_lead_to_the_images_that_their_list_names(folder: Path) -> None:
    listed = json.loads((folder / "xlsa17_image_splits.json").read_text())
    images = [line.split()[1] for line in (folder / "CUB_images.txt").read_text().splitlines()]

    split = read_split(folder / "CUB_sent_splits.mat", Problems(folder))

    for key in ("trainval", "train", "val", "test_seen", "test_unseen"):
        assert {images[i] for i in getattr(split, key)} == {*listed[f"{key}_loc"]}
    # The trap: names in another order than that of the numbers in them.
    assert split is not None
    assert list(split.class_names) != sorted(split.class_names)


def test_the_real_cub_split_has_150_seen_50_unseen_and_50_validation_classes(folder: Path) -> None:
    lines = (folder / "CUB_images.txt").read_text().splitlines()
    images = [(line.split()[1].split("/")[0], line.split()[1]) for line in lines]
    problems = Problems(folder)
    split = read_split(folder / "CUB_sent_splits.mat", problems)
    assert split is not None

    splits = proposed_splits(split, images, Published(11_788, 150, 50), problems)

    assert (len(splits.seen), len(splits.unseen), len(splits.validation)) == (150, 50, 50)
    assert set(splits.validation) < set(splits.seen)
    assert set(splits.unseen).isdisjoint(splits.seen)
    assert splits.train is not None
    assert len(splits.train) == 7057
    listed = json.loads((folder / "xlsa17_image_splits.json").read_text())
    assert set(splits.validation) == {image.split("/")[0] for image in listed["val_loc"]}


def test_the_nearest_split_file_is_found_and_one_that_names_its_data_set_comes_first(
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    places = [
        root / "CUB_att_splits.mat",
        root / "att_splits.mat",
        tmp_path / "CUB_sent_splits.mat",
        tmp_path / "xlsa17" / "data" / "CUB" / "att_splits.mat",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (root / "SUN_att_splits.mat").touch()

    for place in places:
        found = find_split(root, "CUB")
        assert found is not None
        assert found.resolve() == place.resolve()
        place.unlink()
    assert find_split(root, "CUB") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "can't be read as a MATLAB file"),
        (b"nothing that MATLAB wrote" * 40, "can't be read as a MATLAB file"),
        ({"att": np.eye(2)}, "has no allclasses_names, trainval_loc"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, problems: Problems, content: bytes | dict, words: str
) -> None:
    path = tmp_path / "att_splits.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)

    assert read_split(path, problems) is None

    (problem,) = told(problems)
    assert problem.startswith("att_splits.mat")
    assert words in problem


def test_a_missing_file_is_named(tmp_path: Path, problems: Problems) -> None:
    assert read_strings(tmp_path / "images.mat", "images", problems) is None
    assert told(problems) == ("images.mat is missing",)


def test_indices_that_count_from_0_are_refused(tmp_path: Path, problems: Problems) -> None:
    path = tmp_path / "att_splits.mat"
    write_split(path, NAMES, sorted(set(NAMES)), ["dog"], ["bee"])
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    savemat(path, {**content, "val_loc": content["val_loc"] * 0})

    assert read_split(path, problems) is None
    assert told(problems) == ("att_splits.mat: val_loc holds no indices that count from 1",)


def test_texts_come_out_of_cells_however_deep(tmp_path: Path, problems: Problems) -> None:
    deep = np.empty((2, 1), object)
    deep[0, 0], deep[1, 0] = cells(["a/abbey/1.jpg"]), "b/bog/2.jpg"
    savemat(tmp_path / "images.mat", {"images": deep})

    found = read_strings(tmp_path / "images.mat", "images", problems)

    assert found == ("a/abbey/1.jpg", "b/bog/2.jpg")


def test_the_authors_own_paths_become_relative_ones(tmp_path: Path, problems: Problems) -> None:
    write_order(tmp_path / "res101.mat", ["ox/ox_1.jpg", "cat/cat_1.jpg"], [2, 1], "JPEGImages")

    order = read_image_order(tmp_path / "res101.mat", "JPEGImages", problems)
    other = read_image_order(tmp_path / "res101.mat", "images", problems)

    assert order is not None
    assert order.files == ("ox/ox_1.jpg", "cat/cat_1.jpg")
    assert order.labels.tolist() == [1, 0]
    assert other is None
    assert "another data set's file" in told(problems)[0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (NAMES[1:] + NAMES[:1], "both seen and unseen"),
        (sorted(NAMES, reverse=True), "both seen and unseen"),
        (NAMES[:-1], "points to image 23, there are 22"),
        ([*NAMES, "dog"], "leaves 1 out"),
        ([*NAMES[:-6], *["eel"] * 6], "'eel' is not among the classes"),
        (["bee" if name == "ant" else name for name in NAMES], "'ant' is among the classes"),
    ],
)
def test_a_split_of_other_images_is_refused(
    tmp_path: Path, problems: Problems, names: list[str], words: str
) -> None:
    path = tmp_path / "att_splits.mat"
    write_split(path, NAMES, sorted(set(NAMES)), ["dog"], ["bee"])
    split = read_split(path, problems)
    assert split is not None
    images = [(name, f"{name}/{at}.jpg") for at, name in enumerate(names)]

    with pytest.raises(DatasetError) as caught:
        proposed_splits(split, images, Published(len(names), 3, 1), problems)

    assert any(words in problem for problem in caught.value.problems), caught.value.problems


def test_other_counts_than_the_published_ones_are_named(tmp_path: Path, problems: Problems) -> None:
    path = tmp_path / "att_splits.mat"
    write_split(path, NAMES, sorted(set(NAMES)), ["dog"], ["bee"])
    split = read_split(path, problems)
    assert split is not None
    images = [(name, f"{name}/{at}.jpg") for at, name in enumerate(NAMES)]

    splits = proposed_splits(split, images, Published(23, 3, 1), problems)
    with pytest.raises(DatasetError) as few:
        proposed_splits(split, images, Published(11_788, 3, 1), Problems(tmp_path))
    with pytest.raises(DatasetError) as many:
        proposed_splits(split, images, Published(23, 150, 50), Problems(tmp_path))

    assert splits.seen == ("ant", "bee", "cat")
    assert splits.unseen == ("dog",)
    assert splits.validation == ("bee",)
    assert few.value.problems == ("there are 23 images, published are 11,788",)
    assert many.value.problems == (
        "att_splits.mat has 3 seen classes, published are 150",
        "att_splits.mat has 1 unseen classes, published are 50",
    )
