"""`umzero data check`: what it finds in a folder, and how the command ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.commands import training
from model.data.check import check, warnings_of
from model.data.read import read
from model.errors import DatasetError, ModelError
from model.training import run
from tests.shapes import write_shapes

REPOSITORY = Path(__file__).resolve().parents[3]
NO_UTF_8 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nine classes of ten pictures each; red_square and blue_bar are unseen."""
    root = tmp_path / "shapes"
    write_shapes(root)
    return root


def copy(root: Path, source: str, target: str) -> None:
    shutil.copyfile(root / "images" / source, root / "images" / target)


def edit_table(root: Path, edit) -> None:
    lines = (root / "attributes.csv").read_text().splitlines()
    (root / "attributes.csv").write_text("\n".join(edit(lines)) + "\n")


def train_and_test(root: Path, name: str) -> tuple[str, str]:
    """A picture of `name` to train on and one to test with, below images/."""
    data = read(root)
    train, test = (
        next(data.images[i] for i in chosen if data.images[i].parent.name == name)
        for chosen in (data.train, data.test_seen)
    )
    return f"{name}/{train.name}", f"{name}/{test.name}"


def data_check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umzero.cli", "data", "check", str(folder), *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_data_set_has_nothing_to_be_told(root: Path) -> None:
    report = check(root)

    assert report.errors == report.warnings == report.notes == ()
    assert report.data is not None
    assert report.summary == (
        "90 images, 9 classes (7 seen, 2 of them for validation, 2 unseen), "
        "6 attributes in 2 groups"
    )


def test_a_training_image_among_the_test_images_is_a_leak(root: Path) -> None:
    train, test = train_and_test(root, "green_disc")
    copy(root, train, test)

    (error,) = check(root).errors

    assert train in error
    assert test in error
    assert error.endswith("are the same image, in test seen and train")


def test_an_image_in_two_classes_is_a_leak(root: Path) -> None:
    copy(root, "red_square/3.png", "blue_disc/3.png")

    (error,) = check(root).errors

    assert {"blue_disc/3.png", "red_square/3.png"} <= set(error.replace(",", "").split())
    assert error.endswith("are the same image, in classes blue_disc, red_square")


def test_copies_that_mislead_nobody_are_a_warning(root: Path) -> None:
    copy(root, "red_square/3.png", "red_square/4.png")
    copy(root, "red_square/3.png", "red_square/5.png")

    report = check(root)

    assert report.errors == ()
    assert report.warnings == ("copies of an image in the same class and split: 2",)


def test_attributes_that_separate_nothing_are_warnings(root: Path) -> None:
    def edit(lines):
        extra = ["alive,crimson,again"]
        extra += [f"7,{line.split(',')[1]},{line.split(',')[1]}" for line in lines[1:]]
        return [f"{line},{more}" for line, more in zip(lines, extra, strict=True)]

    edit_table(root, edit)

    report = check(root)

    assert report.errors == ()
    assert report.warnings == (
        "attribute 'alive' is 7 for every class; it separates nothing",
        "attributes colour::red, crimson, again have the same values in every class; "
        "one of them would do",
    )
    data = read(root)
    assert list(report.warnings) == warnings_of(data)
    unique = np.unique(data.class_attributes.T, axis=0)
    assert len(unique) == len(data.attribute_names) - 2


def test_columns_of_unlike_scale_are_a_warning_until_they_are_brought_to_one(root: Path) -> None:
    def with_weights(step: int):
        def edit(lines):
            extra = ["weight", *(str(step * at) for at in range(1, len(lines)))]
            return [f"{line},{more}" for line, more in zip(lines, extra, strict=True)]

        return edit

    table = (root / "attributes.csv").read_text()
    edit_table(root, with_weights(1000))  # 1,000 to 9,000 beside 0 to 100
    data = read(root)
    (warning,) = warnings_of(data)
    assert warning == (
        "attributes that differ by less than 5% of the table's scale, 0 to 9000, and say little: "
        "colour::red, colour::green, colour::blue and 3 more; if they are in another unit than the "
        "others, bring all columns to one scale, such as 0 to 1"
    )
    assert list(check(root).warnings) == [warning]

    (root / "attributes.csv").write_text(table)
    edit_table(root, with_weights(10))
    assert warnings_of(read(root)) == []


def test_a_class_of_few_images_is_a_warning(root: Path) -> None:
    for number in range(5, 10):
        (root / "images" / "green_bar" / f"{number}.png").unlink()
    for number in range(3, 10):
        (root / "images" / "red_square" / f"{number}.png").unlink()

    report = check(root)

    assert report.errors == ()
    assert report.warnings == (
        "class 'green_bar' has 4 images to train on; 5 or more say something",
        "class 'red_square' has 3 images to test on; 5 or more say something",
    )


def test_missing_values_are_notes(root: Path) -> None:
    edit_table(root, lambda lines: [lines[0], lines[1].replace("100", "", 1), *lines[2:]])

    report = check(root)

    assert report.errors == report.warnings == ()
    (note,) = report.notes
    assert "'colour::red' has no value in 'red_disc'" in note


def test_everything_that_is_wrong_is_told_at_once(root: Path) -> None:
    images = root / "images"
    copy(root, "green_disc/0.png", "blue_disc/0.png")
    (images / "green_bar" / "1.png").write_bytes(b"")
    (images / "green_disc" / "2.png").write_bytes(b"")
    edit_table(root, lambda lines: [line for line in lines if not line.startswith("blue_square")])
    shutil.rmtree(images / "red_bar")
    (images / "red_bar").mkdir()

    report = check(root)

    assert report.data is None
    expected = [
        "images/green_bar/1.png can't be decoded",
        "images/green_disc/2.png can't be decoded",
        "class 'blue_square' has images but no row",
        "class 'red_bar' has no images",
        "blue_disc/0.png, green_disc/0.png are the same image, in different folders",
    ]
    for words in expected:
        assert any(words in error for error in report.errors), f"{words} not in {report.errors}"
    assert len(report.errors) == len(expected)


def test_a_folder_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no folder"):
        check(tmp_path / "nowhere")


def test_the_command_ends_with_0_on_warnings_alone(root: Path) -> None:
    copy(root, "red_square/3.png", "red_square/4.png")

    done = data_check(root)

    assert done.returncode == 0, done.stderr
    assert "90 images" in done.stdout
    assert "warning: copies of an image in the same class and split: 1" in done.stdout
    assert done.stdout.splitlines()[-1] == "errors: 0, warnings: 1"


def test_the_command_ends_with_1_on_an_error(root: Path) -> None:
    splits = json.loads((root / "splits.json").read_text())
    (root / "splits.json").write_text(json.dumps({**splits, "unseen": ["[bold]dodo"]}))

    done = data_check(root)

    assert done.returncode == 1
    assert "error: splits.json: unseen class '[bold]dodo' is none of this data set" in done.stdout
    assert "Traceback" not in done.stderr
    told = data_check(root, "--json")
    assert (told.returncode, json.loads(told.stdout)["errors"]) == (1, list(check(root).errors))


def test_a_photograph_whose_name_is_not_utf_8_is_as_good_as_any(root: Path) -> None:
    (root / "images/green_disc/3.png").rename(root / "images/green_disc" / NO_UTF_8)

    done = data_check(root)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("errors: 0, warnings: 0\n")
    assert NO_UTF_8 in {path.name for path in read(root).images}


def test_a_class_whose_name_is_not_utf_8_is_told_in_words(root: Path) -> None:
    folder = (root / "images/green_disc").rename(root / "images" / NO_UTF_8)
    (root / "splits.json").unlink()  # so that the names are divided by their hash

    done = data_check(root)

    assert (done.returncode, done.stderr) == (1, "")
    assert f"class {folder.name!r} can't be a class id: rename it" in done.stdout


def test_a_data_set_whose_own_name_is_not_utf_8_is_told_before_a_bundle_names_it(
    root: Path,
) -> None:
    done = data_check(root.rename(root.with_name(NO_UTF_8)))

    assert (done.returncode, done.stderr) == (1, "")
    assert "has a name that isn't UTF-8: rename it" in done.stdout


def test_the_command_tells_a_missing_folder_in_one_line(tmp_path: Path) -> None:
    done = data_check(tmp_path / "nowhere")

    assert done.returncode == 1
    assert done.stderr.startswith("error:")
    assert "is no folder" in done.stderr


def test_training_tells_the_same_warnings_before_it_starts(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class StartedError(ModelError):
        pass

    def start(_run: object) -> None:
        raise StartedError

    edit_table(root, lambda lines: [f"{lines[0]},alive", *(f"{line},7" for line in lines[1:])])
    monkeypatch.setattr(run, "train", start)

    with pytest.raises(StartedError):
        training.train("folder", root, root / "out")

    (warning,) = warnings_of(read(root))
    assert f"warning: {warning}" in capsys.readouterr().err


def test_the_real_birds_have_no_leaks(birds_dir: Path) -> None:
    report = check(birds_dir)

    assert report.errors == ()
    assert report.data is not None
    assert len(report.data.images) == 5034
