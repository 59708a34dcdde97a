"""Every row of the contract of `POST /preview`, over a real socket."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from model.bundle import Bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]

SHEET = {"has_crown": "blue", "has_breast": "red", "has_wing": "green"}
DRAFT = {"name": "Draft", "class_id": "draft", "attributes": SHEET}


def form(image: bytes | None, draft: Any) -> dict[str, Any]:
    files: dict[str, Any] = {} if image is None else {"image": ("a.png", image)}
    if draft is not None:
        text = draft if isinstance(draft, bytes) else json.dumps(draft)
        files["class"] = (None, text, "application/json")
    return files


def previewed(http: httpx.Client, image: bytes, draft: Any, **params: Any) -> dict[str, Any]:
    response = http.post("/preview", files=form(image, draft), params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    "params",
    [
        {"top_k": 100},
        {"top_k": 2},
        {"top_k": 100, "gamma": 0},
        {"top_k": 100, "gamma": -3.5},
        {"top_k": 100, "scope": "unseen"},
        {"top_k": 100, "scope": "seen"},
        {"top_k": 100, "box": "8,8,60,70"},
    ],
)
def test_a_preview_is_what_classify_answers_once_the_class_is_registered(
    http: httpx.Client, picture: Picture, params: dict[str, Any]
) -> None:
    image = picture(SHEET)
    before = http.get("/classes").json()

    answer = previewed(http, image, DRAFT, **params)

    assert http.get("/classes").json() == before
    http.post("/classes", json=DRAFT).raise_for_status()
    truth = http.post("/classify", content=image, params=params).json()
    marked = [item.pop("draft", None) for item in answer["predictions"]]
    expected = [True if item["class_id"] == "draft" else None for item in truth["predictions"]]
    assert marked == expected
    assert [item["class_id"] for item in answer["predictions"]] == [
        item["class_id"] for item in truth["predictions"]
    ]
    for found, wanted in zip(answer["predictions"], truth["predictions"], strict=True):
        assert found == wanted | {
            "score": pytest.approx(wanted["score"], abs=1e-4),
            "probability": pytest.approx(wanted["probability"], abs=1e-5),
        }
    assert answer.keys() == truth.keys()
    assert answer["attributes"] == truth["attributes"]
    assert answer["revision"] == before["revision"]


def test_the_drafts_rivals_can_be_chosen(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    rival = bundle.classes[0].class_id

    answer = previewed(http, picture(SHEET), DRAFT, classes=rival, top_k=100)

    assert {item["class_id"] for item in answer["predictions"]} == {rival, "draft"}


def test_a_draft_with_a_registered_classs_id_stands_in_its_place(
    http: httpx.Client, picture: Picture
) -> None:
    other = {"has_crown": "green", "has_breast": "green", "has_wing": "red"}
    http.post("/classes", json=DRAFT | {"attributes": other}).raise_for_status()
    image = picture(SHEET)

    answer = previewed(http, image, DRAFT, top_k=100)

    http.put("/classes/draft", json=DRAFT).raise_for_status()
    truth = http.post("/classify", content=image, params={"top_k": 100}).json()
    assert [
        (item["class_id"], pytest.approx(item["score"], abs=1e-4)) for item in answer["predictions"]
    ] == [(item["class_id"], item["score"]) for item in truth["predictions"]]


def test_previews_leave_registering_alone(http: httpx.Client, picture: Picture) -> None:
    image = picture(SHEET)
    for number in range(3):
        previewed(http, image, DRAFT)
        made = {"name": f"After {number}", "class_id": f"after{number}", "attributes": SHEET}
        http.post("/classes", json=made).raise_for_status()
        previewed(http, image, DRAFT)
        http.delete(f"/classes/after{max(0, number - 1)}")

    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    assert sorted(item["class_id"] for item in listed if not item["seen"]) == ["after2"]
    best = http.post("/classify", content=image).json()["predictions"][0]
    assert best["class_id"] == "after2"


def test_a_draft_without_an_id_gets_one(http: httpx.Client, picture: Picture) -> None:
    answer = previewed(http, picture(SHEET), {"name": "Draft", "attributes": SHEET})

    (draft,) = [item for item in answer["predictions"] if item.get("draft")]
    assert (draft["name"], draft["seen"]) == ("Draft", False)
    assert draft["class_id"]
    assert answer["predictions"][0] == draft


def test_what_cannot_be_previewed_is_a_4xx(
    http: httpx.Client, picture: Picture, problem: Problem, bundle: Bundle
) -> None:
    image, own = picture("Jay"), bundle.classes[0].class_id
    for files, params, status, code in (
        (form(image, None), {}, 422, "class_missing"),
        (form(None, DRAFT), {}, 422, "image_missing"),
        (form(b"", DRAFT), {}, 422, "image_missing"),
        (form(b"x", DRAFT), {}, 422, "image_unreadable"),
        (form(image, b"{"), {}, 400, "json_invalid"),
        (form(image, [DRAFT]), {}, 422, "validation"),
        (form(image, DRAFT | {"more": 1}), {}, 422, "validation"),
        (form(image, DRAFT | {"name": ""}), {}, 422, "name_invalid"),
        (form(image, DRAFT | {"attributes": [1]}), {}, 422, "attribute_count"),
        (form(image, DRAFT | {"class_id": own}), {}, 409, "bundle_class"),
        (form(image, DRAFT), {"classes": "nobody"}, 404, "unknown_class"),
        (form(image, DRAFT), {"top_k": 0}, 422, "validation"),
        (form(image, DRAFT), {"box": "1,2,3"}, 422, "box_invalid"),
        (form(image, DRAFT), {"min_revision": 10**9}, 503, "revision_unavailable"),
    ):
        problem(http.post("/preview", files=files, params=params), status, code)
    twice = [("image", ("a.png", image)), ("class", (None, "{}")), ("class", (None, "{}"))]
    problem(http.post("/preview", files=twice), 422, "too_many_fields")
    two = [("image", ("a.png", image)), ("image", ("b.png", image)), ("class", (None, "{}"))]
    problem(http.post("/preview", files=two), 422, "too_many_images")
    problem(http.post("/preview", content=image), 415, "unsupported_media_type")
    problem(http.post("/preview", json=DRAFT), 415, "unsupported_media_type")
