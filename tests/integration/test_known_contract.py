"""`known` and `known_threshold` in the answers of /classify and /preview."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.bundle import Bundle
from model.runtime.fake import write_fake_bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

THRESHOLD = 7.0  # a picture of a class scores nearly 10, less gamma
UNLIKE = {"has_crown": ["red", "green"], "has_breast": "blue", "has_wing": ["red", "green"]}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that says from which score on a class is known."""
    path = tmp_path_factory.mktemp("calibrated") / "fake"
    return write_fake_bundle(path, calibration={"known_threshold": THRESHOLD})


def asked(http: httpx.Client, image: bytes, **params: Any) -> dict[str, Any]:
    response = http.post("/classify", content=image, params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def highest(http: httpx.Client, bundle: Bundle, image: bytes, **params: Any) -> float:
    """The best score with the bundle's gamma taken off, from what /classify says of all classes."""
    listed = asked(http, image, top_k=100, **params)["predictions"]
    return max(item["score"] - bundle.manifest.gamma * item["seen"] for item in listed)


def test_an_image_of_a_class_is_known_and_one_of_no_class_is_not(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    for name in ("Robin", "Jay", "Cardinal", "Parrot"):
        assert highest(http, bundle, picture(name)) > THRESHOLD
        assert asked(http, picture(name))["known"] is True
    assert highest(http, bundle, picture(UNLIKE)) < THRESHOLD
    assert asked(http, picture(UNLIKE))["known"] is False

    http.post("/classes", json={"name": "New", "attributes": UNLIKE}).raise_for_status()
    assert asked(http, picture(UNLIKE))["known"] is True
    assert asked(http, picture(UNLIKE), scope="seen")["known"] is False


@pytest.mark.parametrize("what", ["Jay", UNLIKE])
@pytest.mark.parametrize(
    "params", [{}, {"top_k": 1}, {"scope": "seen"}, {"classes": "robin,parrot"}, {"look": 2}]
)
def test_the_threshold_can_be_chosen_for_a_request(
    http: httpx.Client, picture: Picture, bundle: Bundle, what: Any, params: dict[str, Any]
) -> None:
    image = picture(what)
    nearest = highest(http, bundle, image, **{k: v for k, v in params.items() if k != "top_k"})

    for threshold, known in ((nearest - 0.01, True), (nearest + 0.01, False)):
        assert asked(http, image, known_threshold=threshold, **params)["known"] is known
    assert asked(http, image, **params)["known"] is (nearest >= THRESHOLD)


def test_gamma_of_a_request_does_not_change_what_is_known(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    nearest = highest(http, bundle, picture("Jay"))
    for gamma in (-50, 0, 3, 1000):
        told = [
            asked(http, picture("Jay"), gamma=gamma, known_threshold=nearest + step)["known"]
            for step in (-0.01, 0.01)
        ]
        assert told == [True, False]
        assert asked(http, picture("Jay"), gamma=gamma)["known"] is True


def test_a_class_with_photographs_pays_its_share_of_gamma_there_too(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    image = picture("Jay")
    body = {
        "name": "Second Jay",
        "class_id": "second",
        "like": "jay",
        "examples": [base64.b64encode(image).decode()] * 3,
    }
    http.post("/classes", json=body).raise_for_status()

    (found,) = asked(http, image, classes="second")["predictions"]

    # Three photographs count for half of it: the fake bundle's sheets count for three.
    nearest = found["score"] - bundle.manifest.gamma * 0.5
    for step, known in ((-0.01, True), (0.01, False)):
        threshold = nearest + step
        answer = asked(http, image, classes="second", known_threshold=threshold)
        assert answer["known"] is known


def test_each_of_several_images_has_its_own(http: httpx.Client, picture: Picture) -> None:
    images = [picture("Jay"), b"no image", picture(UNLIKE), picture("Robin")]
    encoded = {"image": [base64.b64encode(image).decode() for image in images]}

    first, bad, second, third = http.post("/classify", json=encoded).json()["results"]

    assert [item["known"] for item in (first, second, third)] == [True, False, True]
    assert bad.keys() == {"problem"}
    strict = http.post("/classify", json=encoded, params={"known_threshold": 99}).json()["results"]
    assert [item.get("known") for item in strict] == [False, None, False, False]


def test_a_draft_can_make_an_image_known(http: httpx.Client, picture: Picture) -> None:
    def previewed(sheet: Any, **params: Any) -> Any:
        draft = json.dumps({"name": "Draft", "attributes": sheet})
        files = {"image": ("a.png", picture(UNLIKE)), "class": (None, draft)}
        return http.post("/preview", files=files, params=params).json()["known"]

    assert previewed({"has_crown": "blue"}) is False
    assert previewed({"has_crown": "blue"}, known_threshold=-10) is True
    assert previewed(UNLIKE) is True
    assert previewed(UNLIKE, known_threshold=11) is False
    assert asked(http, picture(UNLIKE))["known"] is False


@pytest.mark.parametrize("threshold", ["nan", "inf", "much", "1e7", "-1e7"])
def test_a_threshold_is_a_finite_number(
    http: httpx.Client, picture: Picture, problem: Problem, threshold: str
) -> None:
    response = http.post("/classify", content=picture("Jay"), params={"known_threshold": threshold})
    assert problem(response, 422, "validation")["errors"][0]["field"] == "query.known_threshold"


def test_a_bundle_without_a_threshold_says_nothing_unless_it_is_asked_with_one(
    start: Start, picture: Picture, tmp_path: Path
) -> None:
    plain = write_fake_bundle(tmp_path / "plain")
    client = start(bundle=str(plain.path)).client
    image = picture("Jay")

    assert asked(client, image)["known"] is None
    assert asked(client, image, known_threshold=5)["known"] is True
    assert asked(client, image, known_threshold=11)["known"] is False
