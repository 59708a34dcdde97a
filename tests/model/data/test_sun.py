"""SUN Attribute's official layout: a small one drawn here, and the real split over 14,340 names."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from model.data.proposed import Published
from model.data.read import read
from model.data.sun import read_sun
from model.errors import DatasetError
from tests.layouts import cells, draw, link_everywhere, write_order, write_split

FOLDERS = ("a/abbey", "a/apse/indoor", "b/bog", "b/bow_window/indoor", "z/zoo")
CLASSES = ("abbey", "apse_indoor", "bog", "bow_window_indoor", "zoo")
ATTRIBUTES = ("boating", "driving", "open area", "rusty")
EACH = 4
COUNTS = Published(images=20, seen=4, unseen=1)
FILES = [f"{folder}/sun_{i:03}.jpg" for folder in FOLDERS for i in range(EACH)]


def write_database(root: Path, files, attributes, votes) -> None:
    database = root / "SUNAttributeDB"
    database.mkdir(parents=True, exist_ok=True)
    savemat(database / "images.mat", {"images": cells(files)})
    savemat(database / "attributes.mat", {"attributes": cells(attributes)})
    savemat(database / "attributeLabels_continuous.mat", {"labels_cv": votes})


def means(votes: np.ndarray) -> np.ndarray:
    """(A, K) of images that lie class by class, EACH of them."""
    return votes.reshape(len(CLASSES), EACH, -1).mean(axis=1).T


@pytest.fixture
def votes() -> np.ndarray:
    """Three people's votes on every image."""
    return np.random.default_rng(0).integers(0, 4, (len(FILES), len(ATTRIBUTES))) / 3


@pytest.fixture
def root(tmp_path: Path, votes: np.ndarray) -> Path:
    root = tmp_path / "SUN"
    for shade, file in enumerate(FILES):
        draw(root / "images" / file, shade)
    write_database(root, FILES, ATTRIBUTES, votes)
    names = [name for name in CLASSES for _ in range(EACH)]
    write_split(root / "SUN_att_splits.mat", names, CLASSES, ["zoo"], ["bog"], means(votes))
    return root


def problems_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        read_sun(root, published=COUNTS)
    return caught.value.problems


@pytest.mark.parametrize("inside", [False, True])
def test_paths_votes_and_the_split_come_together(
    root: Path, votes: np.ndarray, inside: bool
) -> None:
    if inside:
        (root / "images").rename(root / "SUNAttributeDB" / "images")

    data = read_sun(root, published=COUNTS)

    assert data.class_names == CLASSES
    assert data.display_names[1] == "apse indoor"
    assert [data.class_names[i] for i in data.unseen] == ["zoo"]
    assert [data.class_names[i] for i in data.validation] == ["bog"]
    assert data.attribute_names == ATTRIBUTES
    assert data.attribute_groups == ATTRIBUTES
    assert data.labels.tolist() == [c for c in range(5) for _ in range(EACH)]
    by_hand = [[sum(votes[4 * c : 4 * c + 4, a]) / 4 for a in range(4)] for c in range(5)]
    np.testing.assert_allclose(data.class_attributes, by_hand, rtol=1e-6)
    assert data.test_seen.tolist() == [3, 7, 11, 15]
    assert data.test_unseen.tolist() == [16, 17, 18, 19]
    assert data.images[5].relative_to(root).as_posix().endswith("images/a/apse/indoor/sun_001.jpg")
    assert set(data.maximum.tolist()) == {1}


def test_classes_in_another_order_than_the_splits_are_refused(
    root: Path, votes: np.ndarray
) -> None:
    # Two whole classes changed places: as a split of classes it still fits.
    order = [*range(16, 20), *range(4, 16), *range(4)]
    write_database(root, [FILES[i] for i in order], ATTRIBUTES, votes[order])

    (problem,) = problems_of(root)

    assert problem.startswith("SUNAttributeDB/images.mat has 'zoo' as class 1, SUN_att_splits.mat")
    assert "res101.mat" in problem


def test_the_order_of_res101_is_taken_where_it_lies(root: Path, votes: np.ndarray) -> None:
    order = [*range(16, 20), *range(4, 16), *range(4)]
    write_database(root, [FILES[i] for i in order], ATTRIBUTES, votes[order])
    labels = [1 + at // EACH for at in range(len(FILES))]
    write_order(root / "res101.mat", FILES, labels, "images")

    data = read_sun(root, published=COUNTS)

    assert [path.relative_to(root / "images").as_posix() for path in data.images] == FILES
    assert {data.images[i].parent.name for i in data.test_unseen} == {"zoo"}


def test_votes_that_belong_to_other_images_are_refused(root: Path, votes: np.ndarray) -> None:
    write_database(root, FILES, ATTRIBUTES, votes[::-1])

    (problem,) = problems_of(root)

    assert "are not the attributes that SUN_att_splits.mat has" in problem


def test_what_is_missing_or_broken_is_told_at_once(root: Path) -> None:
    database = root / "SUNAttributeDB"
    (database / "images.mat").unlink()
    (database / "attributes.mat").write_bytes(b"no MATLAB file")
    savemat(database / "attributeLabels_continuous.mat", {"labels": np.eye(2)})
    (root / "SUN_att_splits.mat").unlink()

    problems = problems_of(root)

    expected = [
        "SUNAttributeDB/images.mat is missing",
        "SUNAttributeDB/attributes.mat can't be read as a MATLAB file",
        "SUNAttributeDB/attributeLabels_continuous.mat has no labels_cv",
        "SUN_att_splits.mat is missing",
    ]
    for words in expected:
        assert any(words in problem for problem in problems), f"{words} is not in {problems}"
    assert len(problems) == len(expected)


def test_an_image_that_is_listed_and_not_there_is_named(root: Path) -> None:
    (root / "images" / FILES[7]).unlink()

    assert problems_of(root) == ("images/a/apse/indoor/sun_003.jpg is missing",)


def test_read_knows_the_layout_and_holds_it_against_the_published_counts(root: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read(root)

    assert "there are 20 images, published are 14,340" in caught.value.problems[0]


def test_the_real_split_fits_14340_images_of_20_a_class(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "xlsa17" / "SUN_att_splits.mat"
    if not real.is_file():
        pytest.skip("needs the split files of ../shared/data/xlsa17")
    raw = loadmat(real)
    classes = [str(cell[0]) for cell in raw["allclasses_names"][:, 0]]
    files = [f"{name[0]}/{name}/sun_{i:02}.jpg" for name in classes for i in range(20)]
    root = tmp_path / "SUN"
    link_everywhere(tmp_path / "one.jpg", (root / "images" / file for file in files))
    attributes = [f"attribute {at}" for at in range(102)]
    write_database(root, files, attributes, np.repeat(raw["original_att"].T, 20, axis=0))
    (root / "att_splits.mat").symlink_to(real)

    data = read(root, check_images=False)

    assert len(data.images) == 14_340
    assert (len(data.seen), len(data.unseen), len(data.validation)) == (645, 72, 65)
    assert (len(data.train), len(data.test_seen), len(data.test_unseen)) == (10_320, 2_580, 1_440)
    np.testing.assert_allclose(data.class_attributes, raw["original_att"].T, rtol=1e-6)
    rows = raw["test_unseen_loc"][:, 0].astype(int)
    assert {data.class_names[i] for i in data.unseen} == {classes[(row - 1) // 20] for row in rows}
    # Four of each seen class's twenty are for test.
    assert np.bincount(data.labels[data.test_seen], minlength=717).max() == 4
