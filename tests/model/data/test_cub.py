"""CUB's official layout: a small one written here, and the real birds."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from model.data.cub import read_cub
from model.data.proposed import Published
from model.data.read import read
from model.errors import DatasetError
from tests.layouts import cells, link_everywhere

CLASSES = ("001.Red_Bird", "002.Blue_Bird", "003.Ghost", "004.Green_Bird", "005.Grey_Bird")
ATTRIBUTES = ("has_bill_shape::dagger", "has_bill_shape::hooked", "has_size::small")
IMAGES_EACH = 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five classes of which the third has neither photographs nor a role."""
    root = tmp_path / "tiny"
    (root / "attributes").mkdir(parents=True)
    images, labels, flags = [], [], []
    for at, name in enumerate(CLASSES):
        for number in range(0 if name == "003.Ghost" else IMAGES_EACH):
            path = root / "images" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (50 * at, 90, 20 * number)).save(path)
            images.append(f"{name}/{number}.jpg")
            labels.append(at + 1)
            flags.append(int(number != 0))
    write_table(root / "classes.txt", CLASSES)
    write_table(root / "images.txt", images)
    write_table(root / "image_class_labels.txt", labels)
    write_table(root / "train_test_split.txt", flags)
    write_table(root / "attributes" / "attributes.txt", ATTRIBUTES)
    matrix = [[10.0 * at, 5.5, 100.0 - at] for at in range(len(CLASSES))]
    write_matrix(root, matrix)
    splits = {
        "seen": ["001.Red_Bird", "002.Blue_Bird", "005.Grey_Bird"],
        "unseen": ["004.Green_Bird"],
        "validation": ["005.Grey_Bird"],
    }
    (root / "splits.json").write_text(json.dumps(splits))
    return root


def write_table(path: Path, values) -> None:
    path.write_text("".join(f"{at} {value}\n" for at, value in enumerate(values, 1)))


def write_matrix(root: Path, rows) -> None:
    lines = (" ".join(map(str, row)) for row in rows)
    (root / "attributes" / "class_attribute_labels_continuous.txt").write_text("\n".join(lines))


def problems_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        read_cub(root)
    return caught.value.problems


def test_classes_without_a_role_are_left_out_and_the_rest_keeps_its_order(root: Path) -> None:
    data = read(root)

    assert data.name == "tiny"
    assert data.class_names == (CLASSES[0], CLASSES[1], CLASSES[3], CLASSES[4])
    assert data.display_names == ("Red Bird", "Blue Bird", "Green Bird", "Grey Bird")
    assert data.seen == (0, 1, 3)
    assert data.unseen == (2,)
    assert data.validation == (3,)
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert data.attribute_groups == ("has_bill_shape", "has_bill_shape", "has_size")
    np.testing.assert_array_equal(
        data.class_attributes, [[0, 5.5, 100], [10, 5.5, 99], [30, 5.5, 97], [40, 5.5, 96]]
    )
    assert data.minimum.tolist() == [0, 0, 0]
    assert data.maximum.tolist() == [100, 100, 100]


def test_flags_divide_seen_classes_and_unseen_images_are_all_test(root: Path) -> None:
    data = read_cub(root)

    assert data.train.tolist() == [1, 2, 4, 5, 10, 11]
    assert data.test_seen.tolist() == [0, 3, 9]
    assert data.test_unseen.tolist() == [6, 7, 8]


def test_attribute_names_may_lie_one_folder_up_as_in_the_archive(root: Path) -> None:
    (root / "attributes" / "attributes.txt").rename(root.parent / "attributes.txt")

    assert read_cub(root).attribute_names == ATTRIBUTES


def test_everything_that_is_wrong_is_named_at_once(root: Path) -> None:
    images = root / "images"
    whole = (images / CLASSES[0] / "1.jpg").read_bytes()
    (images / CLASSES[0] / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (images / CLASSES[1] / "2.jpg").unlink()
    write_matrix(root, [[1, "nan", 3], [1, 2, 250], [1, 2, 3], [1, 2], [0, 0, 0]])
    write_table(root / "image_class_labels.txt", [1, 1, 1, 2, 2, 2, 4, 4, 77, 5, 5, 5, 5])
    flags = "".join(f"{at} {flag}\n" for at, flag in enumerate([1] * 11, 1))
    (root / "train_test_split.txt").write_text(flags + "3 1\nnonsense\n")
    splits = {"seen": [CLASSES[0], CLASSES[1], CLASSES[4]], "unseen": [CLASSES[3], "9.Dodo"]}
    (root / "splits.json").write_text(json.dumps({**splits, "validation": [CLASSES[3]]}))

    problems = problems_of(root)

    expected = [
        "images/001.Red_Bird/1.jpg can't be decoded",
        "images/002.Blue_Bird/2.jpg is missing",
        "class '001.Red_Bird': has_bill_shape::hooked is 'nan'",
        "class '002.Blue_Bird' has 1 attributes outside 0 to 100, for instance 250",
        "class '004.Green_Bird' has 2 attributes, expected 3",
        "image 9 (004.Green_Bird/2.jpg) is of class 77",
        "image 12 (005.Grey_Bird/2.jpg) needs a class and a train flag",
        "image_class_labels.txt has 13, which is not in images.txt",
        "train_test_split.txt:12 has 3 a second time",
        "train_test_split.txt:13 is 'nonsense'",
        "splits.json: unseen class '9.Dodo' is none",
        "splits.json: validation class '004.Green_Bird' is not seen",
    ]
    for words in expected:
        assert any(words in problem for problem in problems), f"{words} is not in {problems}"
    assert len(problems) == len(expected)


def test_a_matrix_with_too_few_rows_is_named(root: Path) -> None:
    write_matrix(root, [[1, 2, 3]] * 3)

    assert problems_of(root) == (
        "attributes/class_attribute_labels_continuous.txt has 3 rows, expected 5, one a class",
    )


def test_missing_files_are_all_named(root: Path) -> None:
    for name in ("classes.txt", "image_class_labels.txt", "splits.json"):
        (root / name).unlink()

    problems = problems_of(root)

    assert len(problems) == 3
    assert all("is missing" in problem for problem in problems)


def test_the_real_birds_are_read_whole(birds_dir: Path) -> None:
    data = read(birds_dir)

    assert len(data.images) == 5034
    assert (len(data.seen), len(data.unseen), len(data.validation)) == (79, 15, 28)
    assert len(data.class_names) == 94
    assert data.class_attributes.shape == (94, 312)
    assert len(set(data.attribute_groups)) == 28
    assert data.attribute_groups[1] == "has_bill_shape"
    assert data.display_names[0] == "Black footed Albatross"
    assert [data.class_names[label] for label in data.labels] == [
        path.parent.name for path in data.images
    ]
    matrix = np.loadtxt(birds_dir / "attributes" / "class_attribute_labels_continuous.txt")
    rows = [int(name.split(".")[0]) - 1 for name in data.class_names]
    np.testing.assert_allclose(data.class_attributes, matrix[rows], rtol=1e-6)


def test_the_real_birds_are_divided_as_their_files_say(birds_dir: Path) -> None:
    data = read(birds_dir, check_images=False)

    splits = json.loads((birds_dir / "splits.json").read_text())
    for key in ("seen", "unseen", "validation"):
        assert {data.class_names[i] for i in getattr(data, key)} == {*splits[key]}
    flags = np.loadtxt(birds_dir / "train_test_split.txt", dtype=int)
    flagged = {
        birds_dir / "images" / line.split()[1]
        for line, (_, flag) in zip(
            (birds_dir / "images.txt").read_text().splitlines(), flags, strict=True
        )
        if flag
    }
    seen_folders = {*splits["seen"]}
    train = {data.images[i] for i in data.train}
    assert train == {path for path in flagged if path.parent.name in seen_folders}
    assert {data.images[i].parent.name for i in data.test_unseen} == {*splits["unseen"]}
    seen_images = len(data.train) + len(data.test_seen)
    assert len(data.train) / seen_images == pytest.approx(0.8, abs=0.005)
    assert seen_images + len(data.test_unseen) == 5034


def test_the_proposed_split_takes_the_place_of_splits_json(root: Path) -> None:
    (root / "splits.json").unlink()
    (root / "train_test_split.txt").unlink()
    write_proposed(root.parent / "CUB_sent_splits.mat")

    data = read_cub(root, published=Published(12, 3, 1))

    assert data.class_names == (CLASSES[0], CLASSES[1], CLASSES[3], CLASSES[4])
    assert [data.class_names[i] for i in data.unseen] == [CLASSES[3]]
    assert [data.class_names[i] for i in data.validation] == [CLASSES[0]]
    assert data.train.tolist() == [0, 2, 3, 4, 9, 11]
    assert data.test_seen.tolist() == [1, 5, 10]
    assert data.test_unseen.tolist() == [6, 7, 8]
    # CUB's own attributes, whatever else is in the split's file.
    np.testing.assert_array_equal(
        data.class_attributes, [[0, 5.5, 100], [10, 5.5, 99], [30, 5.5, 97], [40, 5.5, 96]]
    )


def test_splits_json_comes_before_a_split_file(root: Path) -> None:
    write_proposed(root / "att_splits.mat")

    data = read_cub(root, published=Published(12, 3, 1))

    assert data.train.tolist() == [1, 2, 4, 5, 10, 11]


def test_a_part_of_cub_is_not_what_the_split_file_speaks_of(root: Path) -> None:
    (root / "splits.json").unlink()
    write_proposed(root / "att_splits.mat")

    assert problems_of(root) == ("there are 12 images, published are 11,788",)


def test_images_that_are_not_numbered_in_their_order_are_refused(root: Path) -> None:
    (root / "splits.json").unlink()
    write_proposed(root / "att_splits.mat")
    lines = (root / "images.txt").read_text().splitlines()
    (root / "images.txt").write_text("\n".join(reversed(lines)))

    assert problems_of(root) == ("images.txt is not numbered from 1 on, as the official one is",)


def write_proposed(path: Path) -> None:
    """Four classes of three images; locations are in no order, and count from 1."""
    locations = {
        "trainval_loc": [12, 1, 3, 10, 4, 5],
        "test_seen_loc": [2, 11, 6],
        "test_unseen_loc": [7, 8, 9],
        "train_loc": [4, 5, 6, 10, 11, 12],
        "val_loc": [1, 2, 3],
    }
    content = {key: np.array(rows, np.uint16)[:, None] for key, rows in locations.items()}
    names = [CLASSES[at] for at in (4, 0, 3, 1)]
    savemat(path, {**content, "allclasses_names": cells(names), "att": np.eye(4)})


@pytest.fixture
def whole(birds_dir: Path, shared_data: Path, tmp_path: Path) -> Path:
    """All 11,788 names and CUB's real attributes; the images are one and the same."""
    real = shared_data / "xlsa17"
    if not real.is_dir():
        pytest.skip("needs the split files of ../shared/data/xlsa17")
    root = tmp_path / "CUB_200_2011"
    listed = (real / "CUB_images.txt").read_text()
    names = [line.split()[1] for line in listed.splitlines()]
    link_everywhere(tmp_path / "one.jpg", (root / "images" / name for name in names))
    (root / "attributes").symlink_to(birds_dir / "attributes")
    (root / "classes.txt").symlink_to(birds_dir / "classes.txt")
    (root / "images.txt").write_text(listed)
    write_table(root / "image_class_labels.txt", [int(name.split(".")[0]) for name in names])
    (tmp_path / "CUB_sent_splits.mat").symlink_to(real / "CUB_sent_splits.mat")
    return root


def test_the_whole_of_cub_is_read_with_the_real_split(
    whole: Path, birds_dir: Path, shared_data: Path
) -> None:
    data = read(whole, check_images=False)

    assert len(data.images) == 11_788
    assert (len(data.seen), len(data.unseen), len(data.validation)) == (150, 50, 50)
    assert (len(data.train), len(data.test_seen), len(data.test_unseen)) == (7057, 1764, 2967)
    listed = json.loads((shared_data / "xlsa17" / "xlsa17_image_splits.json").read_text())
    for key, chosen in (("trainval", data.train), ("test_unseen", data.test_unseen)):
        found = {data.images[i].relative_to(whole / "images").as_posix() for i in chosen}
        assert found == {*listed[f"{key}_loc"]}
    assert [data.class_names[label] for label in data.labels] == [
        path.parent.name for path in data.images
    ]
    # The birds are a part of CUB, with the proposed split's classes.
    birds = json.loads((birds_dir / "splits.json").read_text())
    for key in ("seen", "unseen", "validation"):
        assert {*birds[key]} <= {data.class_names[i] for i in getattr(data, key)}
    matrix = np.loadtxt(birds_dir / "attributes" / "class_attribute_labels_continuous.txt")
    np.testing.assert_allclose(data.class_attributes, matrix, rtol=1e-6)
