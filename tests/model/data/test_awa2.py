"""AWA2's official layout: a small one drawn here, and the real split over 37,322 names."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from model.data.awa2 import read_awa2
from model.data.proposed import Published
from model.data.read import read
from model.errors import DatasetError
from tests.layouts import draw, link_everywhere, numbered, write_order, write_split

# In the order of classes.txt, which is not that of names; class -> number of images.
CLASSES = {"ox": 6, "blue+whale": 5, "ant": 4, "grizzly+bear": 8, "zebra": 7}
PREDICATES = ("black", "furry", "big")
MATRIX = [[20.5, 60, 90], [-1, 0, 100], [80.25, 5, 0], [30, 99.5, 70], [60, 40, 50]]
COUNTS = Published(images=30, seen=4, unseen=1)
# README of AWA2: images of each class, in the order of names.
PUBLISHED = {
    **{"antelope": 1046, "bat": 383, "beaver": 193, "blue+whale": 174, "bobcat": 630},
    **{"buffalo": 895, "chihuahua": 567, "chimpanzee": 728, "collie": 1028, "cow": 1338},
    **{"dalmatian": 549, "deer": 1344, "dolphin": 946, "elephant": 1038, "fox": 664},
    **{"german+shepherd": 1033, "giant+panda": 874, "giraffe": 1202, "gorilla": 872},
    **{"grizzly+bear": 852, "hamster": 779, "hippopotamus": 684, "horse": 1645},
    **{"humpback+whale": 709, "killer+whale": 291, "leopard": 720, "lion": 1019, "mole": 100},
    **{"moose": 704, "mouse": 185, "otter": 758, "ox": 728, "persian+cat": 747, "pig": 713},
    **{"polar+bear": 868, "rabbit": 1088, "raccoon": 512, "rat": 310, "rhinoceros": 696},
    **{"seal": 988, "sheep": 1420, "siamese+cat": 500, "skunk": 188, "spider+monkey": 291},
    **{"squirrel": 1200, "tiger": 877, "walrus": 215, "weasel": 272, "wolf": 589, "zebra": 1170},
}
# Xian et al. 2017: the unseen classes of AWA's proposed split.
UNSEEN = {
    *("horse", "blue_whale", "sheep", "seal", "bat", "giraffe", "rat", "bobcat", "walrus"),
    "dolphin",
}


def files_of(counts: dict[str, int]) -> list[str]:
    return [f"{c}/{c}_{10001 + i}.jpg" for c in sorted(counts) for i in range(counts[c])]


def write_texts(root: Path, classes, predicates, matrix) -> None:
    numbered(root / "classes.txt", classes, "\t")
    numbered(root / "predicates.txt", predicates, "\t")
    lines = ["  ".join(f"{value:.2f}" for value in row) for row in matrix]
    (root / "predicate-matrix-continuous.txt").write_text("\n".join(lines) + "\n")


def write_mat(root: Path, files: list[str], attributes=None) -> None:
    names = [file.split("/")[0] for file in files]
    theirs = np.array(MATRIX).T if attributes is None else attributes
    write_split(
        root / "AWA2_att_splits.mat", names, list(CLASSES), ["zebra"], ["blue+whale"], theirs
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "Animals_with_Attributes2"
    for shade, file in enumerate(files_of(CLASSES)):
        draw(root / "JPEGImages" / file, shade)
    write_texts(root, CLASSES, PREDICATES, MATRIX)
    write_mat(root, files_of(CLASSES))
    return root


def problems_of(root: Path, published: Published = COUNTS) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        read_awa2(root, published=published)
    return caught.value.problems


def test_folders_text_files_and_the_split_come_together(root: Path) -> None:
    data = read_awa2(root, published=COUNTS)

    assert data.class_names == ("ox", "blue_whale", "ant", "grizzly_bear", "zebra")
    assert data.display_names[3] == "grizzly bear"
    assert [data.class_names[i] for i in data.unseen] == ["zebra"]
    assert [data.class_names[i] for i in data.validation] == ["blue_whale"]
    assert data.attribute_names == PREDICATES
    assert [path.parent.name.replace("+", "_") for path in data.images] == [
        data.class_names[label] for label in data.labels
    ]
    # The fourth and the eighth of every seen class are test.
    tests = {data.images[i].name for i in data.test_seen}
    assert tests == {f"{c}_{10004 + k}.jpg" for c in CLASSES for k in (0, 4)} & {
        Path(file).name for file in files_of(CLASSES) if "zebra" not in file
    }
    assert len(data.train) + len(data.test_seen) == 23
    assert {data.images[i].parent.name for i in data.test_unseen} == {"zebra"}
    assert set(data.minimum.tolist()) == {0}
    assert set(data.maximum.tolist()) == {100}


def test_minus_one_is_a_missing_value_and_takes_the_seen_classes_mean(root: Path) -> None:
    data = read_awa2(root, published=COUNTS)

    expected = np.array(MATRIX)
    expected[1, 0] = (20.5 + 80.25 + 30) / 3  # the zebra is unseen
    np.testing.assert_allclose(data.class_attributes, expected, rtol=1e-6)
    (note,) = data.notes
    assert "'black' has no value in 'blue_whale'" in note


def test_the_order_of_res101_is_taken_where_it_lies(root: Path) -> None:
    files = files_of(CLASSES)[::-1]
    write_mat(root, files)
    labels = [list(CLASSES).index(file.split("/")[0]) + 1 for file in files]
    refused = problems_of(root)

    write_order(root.parent / "AWA2_res101.mat", files, labels, "JPEGImages")
    data = read_awa2(root, published=COUNTS)

    assert any("both seen and unseen" in problem for problem in refused)
    assert [path.relative_to(root / "JPEGImages").as_posix() for path in data.images] == files
    # Counted from the other end, where the zebras' seven leave the others' places alone.
    tests = {data.images[i].name for i in data.test_seen}
    assert "grizzly+bear_10005.jpg" in tests
    assert "grizzly+bear_10004.jpg" not in tests


def test_labels_that_contradict_the_folders_are_refused(root: Path) -> None:
    files = files_of(CLASSES)
    labels = [list(CLASSES).index(file.split("/")[0]) + 1 for file in files]
    write_order(root / "res101.mat", files, [labels[-1], *labels[1:]], "JPEGImages")

    (problem,) = problems_of(root)

    assert problem == (
        "res101.mat labels 1 images with another class than their folder's, "
        "for instance ant/ant_10001.jpg with 'zebra'"
    )


def test_a_missing_image_shifts_the_rows_and_is_refused(root: Path) -> None:
    (root / "JPEGImages" / "blue+whale" / "blue+whale_10002.jpg").unlink()

    assert problems_of(root) == (
        "there are 29 images, published are 30",
        "AWA2_att_splits.mat points to image 30, there are 29",
    )


def test_an_image_moved_to_another_class_is_refused(root: Path) -> None:
    top = root / "JPEGImages"
    (top / "ox" / "ox_10006.jpg").rename(top / "zebra" / "a.jpg")

    (problem,) = problems_of(root)

    assert problem.startswith("AWA2_att_splits.mat doesn't fit: 'zebra' is both seen and unseen")


def test_a_matrix_that_is_not_the_splits_is_named(root: Path) -> None:
    changed = np.array(MATRIX).T
    changed[2, 4] = 51
    write_mat(root, files_of(CLASSES), changed)

    assert problems_of(root) == (
        "class 'zebra': 1 attributes differ between predicate-matrix-continuous.txt "
        "and AWA2_att_splits.mat",
    )


def test_what_is_missing_is_told_at_once(root: Path) -> None:
    for name in ("predicates.txt", "classes.txt", "AWA2_att_splits.mat"):
        (root / name).unlink()

    problems = problems_of(root)

    assert len(problems) == 3
    assert all("is missing" in problem for problem in problems)


def test_read_knows_the_layout_and_holds_it_against_the_published_counts(root: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read(root)

    assert "there are 30 images, published are 37,322" in caught.value.problems[0]


@pytest.fixture
def whole(shared_data: Path, tmp_path: Path) -> Path:
    """All 37,322 names and the real split file; the images are one and the same."""
    real = shared_data / "xlsa17"
    if not real.is_dir():
        pytest.skip("needs the split files of ../shared/data/xlsa17")
    root = tmp_path / "AWA2"
    paths = (root / "JPEGImages" / file for file in files_of(PUBLISHED))
    link_everywhere(tmp_path / "one.jpg", paths)
    for name in ("classes.txt", "predicates.txt"):
        (root / name).write_text((real / f"AWA2_{name}").read_text())
    raw = loadmat(real / "AWA2_att_splits.mat")
    predicates = (root / "predicates.txt").read_text().split()[1::2]
    classes = (root / "classes.txt").read_text().split()[1::2]
    write_texts(root, classes, predicates, raw["original_att"].T)
    (tmp_path / "AWA2_att_splits.mat").symlink_to(real / "AWA2_att_splits.mat")
    return root


def test_the_real_split_fits_the_published_images_in_the_order_of_names(whole: Path) -> None:
    data = read(whole, check_images=False)

    assert len(data.images) == sum(PUBLISHED.values()) == 37_322
    assert (len(data.seen), len(data.unseen), len(data.validation)) == (40, 10, 13)
    assert {data.class_names[i] for i in data.unseen} == UNSEEN
    assert (len(data.train), len(data.test_seen), len(data.test_unseen)) == (23_527, 5_882, 7_913)
    for at, name in enumerate(data.class_names):
        assert (data.labels == at).sum() == PUBLISHED[name.replace("_", "+")]
    raw = loadmat(whole.parent / "AWA2_att_splits.mat")["original_att"].T
    given = raw >= 0
    np.testing.assert_allclose(data.class_attributes[given], raw[given], rtol=1e-6)
    assert (~given).sum() == 4
    assert len(data.notes) == len(np.flatnonzero((~given).any(axis=0)))


def test_the_real_split_is_refused_where_one_image_is_of_another_class(whole: Path) -> None:
    top = whole / "JPEGImages"
    (top / "antelope" / "antelope_10001.jpg").rename(top / "zebra" / "zebra_99999.jpg")

    with pytest.raises(DatasetError, match="both seen and unseen") as caught:
        read(whole, check_images=False)

    assert "the order" in str(caught.value)
