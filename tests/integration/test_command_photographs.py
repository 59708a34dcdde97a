"""`umzero classify` and `umzero explain` against a real server."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from PIL import Image

import umzero as package
from model.bundle import Bundle
from model.runtime.fake import FakeBackend

Run = Callable[..., CompletedProcess[str]]
Picture = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, picture: Picture) -> Path:
    """Where the command runs: jay.png, robin.png, and bad.png, which is none."""
    for name in ("Jay", "Robin"):
        (tmp_path / f"{name.lower()}.png").write_bytes(picture(name))
    (tmp_path / "bad.png").write_bytes(b"no image")
    return tmp_path


def lines(done: CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("folder")
def test_every_image_is_a_line_and_a_bad_one_a_problem_in_its_place(
    http: httpx.Client, umzero: Run
) -> None:
    done = umzero("classify", "jay.png", "bad.png", "gone.png", "robin.png", "--json")
    assert done.returncode == 4
    jay, bad, gone, robin = lines(done)
    assert [item["image"] for item in (jay, bad, gone, robin)] == [
        "jay.png",
        "bad.png",
        "gone.png",
        "robin.png",
    ]
    assert jay["predictions"][0]["name"] == "Jay"
    assert robin["predictions"][0]["name"] == "Robin"
    assert (jay["bundle"], "known" in jay) == ("fake", True)
    expected = http.post("/classify", content=b"no image").json()
    assert bad["problem"] == {key: expected[key] for key in ("status", "code", "detail")}
    assert gone["problem"]["code"] == "unreadable_file"
    assert done.stderr.splitlines() == [
        f"error: bad.png: {expected['detail']} (422 {expected['code']})",
        "error: can't read gone.png: No such file or directory",
    ]
    assert umzero("classify", "bad.png").returncode == 1


def test_a_question_is_asked_as_over_http(http: httpx.Client, umzero: Run, folder: Path) -> None:
    image = (folder / "jay.png").read_bytes()
    params = {"top_k": 2, "gamma": 3, "box": "0,0,40,30.5", "look": 2, "scope": "seen"}
    done = umzero(
        *("classify", "jay.png", "--json", "--top-k", 2, "--gamma", 3),
        *("--box", "0,0,40,30.5", "--look", 2, "--scope", "seen"),
    )
    expected = http.post("/classify", content=image, params=params).json()["predictions"]
    assert lines(done)[0]["predictions"] == expected
    only = lines(umzero("classify", "jay.png", "--class", "robin", "--class", "parrot", "--json"))
    assert {item["class_id"] for item in only[0]["predictions"]} == {"robin", "parrot"}


@pytest.mark.usefixtures("folder", "http")
def test_the_table_names_the_best_class_first(umzero: Run) -> None:
    done = umzero("classify", "jay.png", "robin.png", "--top-k", "1")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if "seen" in line]
    assert [row.split("\u2502")[1].strip() for row in rows] == ["Jay", "Robin"]


@pytest.mark.usefixtures("folder", "http")
def test_an_image_like_none_of_the_classes_is_told_in_words_and_in_json(umzero: Run) -> None:
    words = "none of the classes is near"
    for threshold, known in (((), None), (("--known-threshold", "5"), True)):
        assert words not in umzero("classify", "jay.png", *threshold).stdout
        (said,) = lines(umzero("classify", "jay.png", "--json", *threshold))
        assert said["known"] is known
    far = ("--known-threshold", "11")
    done = umzero("classify", "jay.png", "robin.png", *far)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(words) == 2
    said = lines(umzero("classify", "jay.png", "robin.png", "--json", *far))
    assert [item["known"] for item in said] == [False, False]
    assert said[0]["predictions"][0]["name"] == "Jay"


@pytest.mark.usefixtures("folder")
def test_this_process_says_what_is_known_as_a_server_does(umzero: Run, birds_bundle: Path) -> None:
    here = ("classify", "jay.png", "--bundle", birds_bundle, "--top-k", 1)
    for threshold, known in ((-1000, True), (1000, False)):
        (said,) = lines(umzero(*here, "--json", "--known-threshold", threshold))
        assert said["known"] is known
        assert said["bundle"] == "birds"
    assert "none of the classes is near" in umzero(*here, "--known-threshold", 1000).stdout


@pytest.mark.usefixtures("folder", "http")
def test_what_is_typed_says_who_looks(umzero: Run, bundle: Bundle) -> None:
    # The fake bundle has no network: this process would need it, the server doesn't.
    here = umzero("classify", "jay.png", "--bundle", bundle.path)
    assert here.returncode == 1
    assert "embed.onnx can't be read" in here.stderr
    assert umzero("classify", "jay.png", UMZERO_BUNDLE=str(bundle.path)).returncode == 0
    for words in (
        ("classify", "jay.png", "--bundle", bundle.path, "--url", "http://127.0.0.1:1"),
        ("classify", "jay.png", "--bundle", bundle.path, "--scope", "seen"),
        ("classify", "jay.png", "--bundle", bundle.path, "--class", "jay"),
        ("classify", "jay.png", "--box", "1,2,3"),
    ):
        assert umzero(*words).returncode == 2


def test_an_explanation_is_the_servers(http: httpx.Client, umzero: Run, folder: Path) -> None:
    image = (folder / "jay.png").read_bytes()
    params = {"class_id": "robin"}
    (expected,) = http.post("/explain", content=image, params=params).json()["explanations"]
    (told,) = lines(umzero("explain", "jay.png", "--class", "robin", "--json"))
    assert (told.pop("image"), told.pop("map")) == ("jay.png", None)
    del expected["heat"]
    assert told == expected

    done = umzero("explain", "jay.png", "--class", "robin", "--top", "2")
    rows = [line for line in done.stdout.splitlines() if "::" in line]
    largest = [item["name"] for item in expected["contributions"][:2]]
    assert [row.split("\u2502")[1].strip() for row in rows] == largest


def test_a_map_is_written_of_all_attributes_or_of_one(
    http: httpx.Client, umzero: Run, folder: Path
) -> None:
    image = (folder / "jay.png").read_bytes()
    name = "has_wing::red"
    for words, more in (((), {}), (("--attribute", name), {"attribute": name})):
        done = umzero("explain", "jay.png", "--class", "jay", "--map", "why.png", "--json", *words)
        assert (done.returncode, done.stderr) == (0, "map: why.png\n")
        expected = http.post(
            "/explain",
            content=image,
            params={"class_id": "jay", **more},
            headers={"Accept": "image/png"},
        )
        assert (folder / "why.png").read_bytes() == expected.content
        assert lines(done)[0]["map"] == "why.png"
    assert [item["name"] for item in lines(done)[0]["contributions"]] == [name]


@pytest.mark.usefixtures("folder", "http")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("jay.png", "--class", "nobody"), "unknown_class"),
        (("bad.png", "--class", "jay"), "image"),
        (("gone.png", "--class", "jay"), "can't read gone.png"),
        (("jay.png", "--class", "jay", "--attribute", "nothing"), "'nothing'"),
        (("jay.png", "--class", "jay", "--map", "nowhere/x.png"), "nowhere/x.png"),
    ],
)
def test_what_can_not_be_explained_is_exit_code_1(
    umzero: Run, words: tuple[str, ...], complaint: str
) -> None:
    done = umzero("explain", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_classifier_in_process_explains_as_the_server_does(
    http: httpx.Client, bundle: Bundle, picture: Picture
) -> None:
    sheet = {"has_crown": "blue", "has_breast": "red"}
    classifier = package.Classifier(bundle.path, backend=FakeBackend.of(bundle))
    image = picture("Jay")
    photographs = [picture("Robin"), image]
    classifier.register("Kite", sheet)
    classifier.register("Shown", {"has_wing": "red"}, like="jay", examples=photographs)
    with package.Client(str(http.base_url)) as client:
        client.register("Kite", sheet, class_id="Kite")
        client.register("Shown", {"has_wing": "red"}, "Shown", like="jay", examples=photographs)
        for class_id in ("jay", "Kite", "Shown"):
            here, there = classifier.explain(image, class_id), client.explain(image, class_id)
            assert (here.class_id, here.name) == (there.class_id, there.name)
            assert here.logit == pytest.approx(there.logit, abs=1e-5)
            assert here.contributions == pytest.approx(there.contributions, abs=1e-5)
            assert here.image == pytest.approx(there.image, abs=1e-4)
            assert here.sheet == there.sheet
            for attribute in (None, "has_wing::red"):
                drawn = classifier.explain_picture(image, class_id, attribute)
                assert drawn == client.explain_picture(image, class_id, attribute)
    pixels = Image.open(io.BytesIO(image))
    assert classifier.explain_picture(pixels, "jay").startswith(b"\x89PNG")
    with pytest.raises(Exception, match="no class has the id 'nobody'"):
        classifier.explain(image, "nobody")
    with pytest.raises(Exception, match="no attribute is called 'nothing'"):
        classifier.explain_picture(image, "jay", "nothing")
