"""Anyone's folder, drawn by code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.folder import read_folder
from model.data.images import opened
from model.data.read import read
from model.errors import DatasetError

HEADER = "class,wings,legs::two,legs::four"
ROWS = {
    "robin": "90,100,0",
    "horse": "0,0,100",
    "bat": "100,80,20",
    "wren": "95,100,0",
    "02.Red_fox": "0,5,100",
    "owl": "85,100,0",
}


def draw(path: Path, shade: int, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), (shade, 128, 255 - shade)).save(path, kind)


def write_table(root: Path, rows: dict[str, str], header: str = HEADER) -> None:
    lines = [header, *(f"{name},{cells}" for name, cells in rows.items())]
    (root / "attributes.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "zoo"
    for shade, name in enumerate(ROWS):
        for number in range(10):
            draw(root / "images" / name / f"{number}.jpg", 40 * shade + number)
    write_table(root, ROWS)
    return root


def problems_of(root: Path, *, check_images: bool = True) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        read_folder(root, check_images=check_images)
    for problem in caught.value.problems:
        assert problem in str(caught.value)
    return caught.value.problems


def test_images_and_sheets_come_as_they_lie(root: Path) -> None:
    data = read_folder(root)

    assert data.name == "zoo"
    assert data.class_names == tuple(ROWS)
    assert data.display_names == ("robin", "horse", "bat", "wren", "Red fox", "owl")
    assert data.attribute_names == ("wings", "legs::two", "legs::four")
    assert data.attribute_groups == ("wings", "legs", "legs")
    table = np.genfromtxt(root / "attributes.csv", delimiter=",", skip_header=1)[:, 1:]
    np.testing.assert_array_equal(data.class_attributes, table.astype(np.float32))
    assert data.class_attributes.dtype == np.float32
    assert data.labels.dtype == np.int64
    folders = [path.parent.name for path in data.images]
    assert [data.class_names[label] for label in data.labels] == folders
    assert {*data.images} == {*(root / "images").glob("*/*.jpg")}


def test_without_splits_all_are_seen_a_third_validate_and_four_fifths_train(root: Path) -> None:
    data = read_folder(root)

    assert data.seen == tuple(range(6))
    assert data.unseen == ()
    assert len(data.test_unseen) == 0
    assert len(data.validation) == 2
    assert set(data.validation) < set(data.seen)
    assert np.bincount(data.labels[data.train]).tolist() == [8] * 6
    assert np.bincount(data.labels[data.test_seen]).tolist() == [2] * 6
    together = np.concatenate([data.train, data.test_seen])
    assert sorted(together) == list(range(60))


def test_the_same_names_are_divided_the_same_way_in_another_place(
    root: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(root, moved)
    write_table(moved, dict(reversed(ROWS.items())))

    first, second = read_folder(root), read_folder(moved)

    def names(data, chosen):
        return {data.images[i].relative_to(data.images[i].parents[2]) for i in chosen}

    assert names(first, first.train) == names(second, second.train)
    assert {first.class_names[i] for i in first.validation} == {
        second.class_names[i] for i in second.validation
    }


def test_splits_json_decides_and_classes_without_a_role_are_left_out(root: Path) -> None:
    splits = {
        "seen": ["robin", "horse", "bat"],
        "unseen": ["wren", "02.Red_fox"],
        "validation": ["bat"],
        "train": ["robin/3.jpg", "horse/0.jpg", "horse/9.jpg", "bat/1.jpg"],
    }
    (root / "splits.json").write_text(json.dumps(splits))

    data = read_folder(root)

    def names(indices):
        return [data.class_names[i] for i in indices]

    assert data.class_names == ("robin", "horse", "bat", "wren", "02.Red_fox")
    assert names(data.seen) == splits["seen"]
    assert names(data.unseen) == splits["unseen"]
    assert names(data.validation) == ["bat"]
    train = {f"{data.images[i].parent.name}/{data.images[i].name}" for i in data.train}
    assert train == {*splits["train"]}
    assert len(data.test_seen) == 30 - 4
    assert {data.images[i].parent.name for i in data.test_unseen} == {"wren", "02.Red_fox"}
    assert len(data.test_unseen) == 20


def test_unseen_alone_leaves_all_others_seen(root: Path) -> None:
    (root / "splits.json").write_text('{"unseen": ["owl"]}')

    data = read_folder(root)

    assert [data.class_names[i] for i in data.unseen] == ["owl"]
    assert len(data.seen) == 5
    assert len(data.validation) == 2
    assert set(data.validation) < set(data.seen)


def test_a_row_without_a_folder_is_left_out(root: Path) -> None:
    write_table(root, {**ROWS, "unicorn": "0,0,100"})

    assert read_folder(root).class_names == tuple(ROWS)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (("0", "0.5", "1"), (0, 1)),
        (("0", "2", "1"), (0, 100)),
        (("0", "100", "1"), (0, 100)),
        (("-1", "88.5", "1"), (-1, 88.5)),
        (("3", "250", "1"), (1, 250)),
    ],
)
def test_the_scale_follows_from_the_numbers(
    root: Path, values: tuple[str, ...], bounds: tuple[float, float]
) -> None:
    write_table(root, dict.fromkeys(ROWS, ",".join(values)))

    data = read_folder(root)

    assert set(data.minimum.tolist()) == {bounds[0]}
    assert set(data.maximum.tolist()) == {bounds[1]}
    assert data.minimum.shape == data.maximum.shape == (3,)


def test_everything_that_is_wrong_is_named_at_once(root: Path) -> None:
    images = root / "images"
    rows = {**ROWS, "horse": "0,much,1e999", "bat": "100,many,20", "wren": "95,100"}
    del rows["owl"]
    lines = [HEADER.replace("wings", "legs::two"), *(f"{n},{c}" for n, c in rows.items())]
    (root / "attributes.csv").write_text("\n".join([*lines, "robin,1,2,3"]) + "\n")
    whole = (images / "bat" / "0.jpg").read_bytes()
    (images / "bat" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "bat" / "1.jpg").write_bytes(b"")
    (images / "bat" / "2.png").write_bytes(b"not a picture")
    (images / "robin" / "notes.txt").write_text("seen on Monday")
    (images / "robin" / ".hidden").write_text("no matter")
    draw(images / "stray.jpg", 1)
    draw(images / "sea lion" / "0.jpg", 1)
    (images / "empty").mkdir()
    splits = {
        "unseen": ["dragon", "wren", "wren"],
        "validation": ["wren", "robin"],
        "train": [*(f"{n}/5.jpg" for n in ("robin", "horse", "bat", "wren")), "bat/99.jpg"],
        "holdout": [],
    }
    (root / "splits.json").write_text(json.dumps(splits))

    problems = problems_of(root)

    expected = [
        "images/bat/0.jpg can't be decoded",
        "images/bat/1.jpg can't be decoded",
        "images/bat/2.png can't be decoded",
        "images/robin/notes.txt is no image",
        "images/stray.jpg lies outside",
        "class 'sea lion' can't be a class id",
        "class 'sea lion' has images but no row",
        "class 'empty' has no images",
        "class 'owl' has images but no row",
        "attributes.csv: class 'robin' comes 2 times",
        "attribute 'legs::two' comes 2 times",
        "class 'horse': legs::two is 'much', legs::four is '1e999'",
        "class 'bat': legs::two is 'many'",
        "class 'wren' has 2 attributes, expected 3",
        "splits.json: unseen class 'dragon' is none",
        "splits.json: unseen class 'wren' comes 2 times",
        "splits.json: validation class 'wren' is not seen",
        "splits.json: there is no train image 'bat/99.jpg'",
        "splits.json: train image 'wren/5.jpg' is of an unseen class",
        "splits.json has an unknown key 'holdout'",
        "seen class '02.Red_fox' has no image to train on",
    ]
    for words in expected:
        assert any(words in problem for problem in problems), f"{words} is not in {problems}"
    assert not any("hidden" in problem for problem in problems)


def test_a_class_that_is_both_seen_and_unseen_is_named(root: Path) -> None:
    (root / "splits.json").write_text('{"seen": ["bat", "owl", "wren"], "unseen": ["owl"]}')

    assert problems_of(root) == ("splits.json: 'owl' is both seen and unseen",)


def test_two_folders_with_one_readable_name_are_named(root: Path) -> None:
    draw(root / "images" / "03.Red_fox" / "0.jpg", 7)
    write_table(root, {**ROWS, "03.Red_fox": "0,0,100"})

    assert problems_of(root) == ("the readable class name 'Red fox' comes 2 times",)


@pytest.mark.parametrize("text", ["{", "[]", '{"unseen": "owl"}', '{"unseen": [1]}'])
def test_a_splits_file_of_another_form_is_named(root: Path, text: str) -> None:
    (root / "splits.json").write_text(text)

    (problem,) = problems_of(root)
    assert problem.startswith("splits.json")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_too_many_pixels_is_named(root: Path) -> None:
    Image.new("1", (30_000, 4_000)).save(root / "images" / "bat" / "huge.png")

    (problem,) = problems_of(root)
    assert problem.startswith("images/bat/huge.png has 30000 x 4000 pixels")


def test_an_image_of_a_format_that_nothing_decodes_is_named(root: Path) -> None:
    draw(root / "images" / "bat" / "map.png", 3, "PPM")

    (problem,) = problems_of(root)
    assert problem.startswith("images/bat/map.png can't be decoded")


@pytest.mark.parametrize("cut", [1, 12])
def test_a_png_that_is_cut_behind_its_pixels_is_named_as_decoding_would(
    root: Path, cut: int
) -> None:
    path = root / "images" / "bat" / "cut.png"
    draw(path, 3, "PNG")
    path.write_bytes(path.read_bytes()[:-cut])

    (problem,) = problems_of(root)
    assert problem.startswith("images/bat/cut.png can't be decoded")
    with pytest.raises(DatasetError, match=problem.partition(": ")[2]):
        opened(path)


def test_broken_images_pass_when_nobody_wants_them_checked(root: Path) -> None:
    (root / "images" / "bat" / "0.jpg").write_bytes(b"")

    assert len(read_folder(root, check_images=False).images) == 60


def test_one_seen_class_is_too_few(root: Path) -> None:
    (root / "splits.json").write_text('{"seen": ["bat"]}')

    (problem,) = problems_of(root)
    assert "at least 2" in problem


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda root: (root / "attributes.csv").unlink(), "attributes.csv is missing"),
        (lambda root: (root / "attributes.csv").write_text("class\n"), "needs a header"),
        (lambda root: (root / "attributes.csv").write_text(HEADER), "describes no class"),
        (lambda root: (root / "attributes.csv").write_bytes(b"\xff\xfe\x00"), "can't be read"),
        (lambda root: shutil.rmtree(root / "images"), "images/ is missing"),
    ],
)
def test_a_folder_without_the_essentials_says_what_is_missing(root: Path, broken, words) -> None:
    broken(root)

    assert any(words in problem for problem in problems_of(root))


def test_read_takes_a_folder_of_classes_and_refuses_what_is_no_folder(root: Path) -> None:
    assert read(root).class_names == tuple(ROWS)
    with pytest.raises(DatasetError, match="is no folder"):
        read(root / "nowhere")


@pytest.mark.parametrize("blank", ["", "?", "nan", " NaN "])
def test_a_missing_value_takes_the_mean_of_the_seen_classes_that_have_one(
    root: Path, blank: str
) -> None:
    (root / "splits.json").write_text('{"unseen": ["owl", "horse"]}')
    write_table(root, {**ROWS, "robin": f"90,{blank},0", "owl": f"85,{blank},0"})

    data = read_folder(root)

    names = list(data.class_names)
    # bat, wren and the fox have one; the unseen horse's 0 doesn't count.
    mean = (80 + 100 + 5) / 3
    for name in ("robin", "owl"):
        assert data.class_attributes[names.index(name), 1] == pytest.approx(mean, rel=1e-6)
    (note,) = data.notes
    assert "'legs::two' has no value in 'robin', 'owl'" in note


def test_a_class_without_any_value_and_an_attribute_that_no_seen_class_has_are_named(
    root: Path,
) -> None:
    (root / "splits.json").write_text('{"unseen": ["owl"]}')
    rows = {name: "?," + cells.split(",", 1)[1] for name, cells in ROWS.items()}
    write_table(root, {**rows, "owl": "85,100,0", "bat": ",?,nan"})

    assert problems_of(root) == (
        "class 'bat' has no attribute value at all; describe it, or take its images away",
        "attribute 'wings' has a value in no seen class; drop its column",
    )


def test_a_table_without_gaps_has_nothing_to_note(root: Path) -> None:
    assert read_folder(root).notes == ()
