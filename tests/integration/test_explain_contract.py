"""Every row of the contract of `POST /explain`, over a real socket."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]


def scores(http: httpx.Client, image: bytes) -> dict[str, float]:
    answer = http.post("/classify", content=image, params={"top_k": 100}).json()
    return {item["class_id"]: item["score"] for item in answer["predictions"]}


def explained(http: httpx.Client, image: bytes, **params: str) -> dict[str, Any]:
    response = http.post("/explain", content=image, params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_base_and_contributions_are_the_logit_and_that_is_classify_s_score(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    image = picture("Jay")
    expected = scores(http, image)
    for item in bundle.classes:
        (found,) = explained(http, image, class_id=item.class_id)["explanations"]
        total = found["base"] + sum(part["contribution"] for part in found["contributions"])
        assert total == pytest.approx(found["logit"], abs=1e-4)
        assert found["logit"] == pytest.approx(expected[item.class_id], abs=1e-4)


def test_every_attribute_says_what_the_image_shows_and_the_sheet_asks(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    item = next(c for c in bundle.classes if c.name == "Jay")
    answer = explained(http, picture("Jay"), class_id=item.class_id)
    (found,) = answer["explanations"]
    assert found.keys() == {"class_id", "name", "logit", "base", "contributions", "heat"}
    assert (found["class_id"], found["name"]) == (item.class_id, "Jay")
    parts = {part["name"]: part for part in found["contributions"]}
    assert parts.keys() == set(bundle.manifest.attributes.names)
    for name, value in zip(bundle.manifest.attributes.names, item.attributes, strict=True):
        assert parts[name].keys() == {"name", "contribution", "image", "sheet"}
        assert parts[name]["sheet"] == pytest.approx(float(value), abs=1e-3)
        assert parts[name]["image"] == pytest.approx(float(value), abs=6)
    strengths = [abs(part["contribution"]) for part in found["contributions"]]
    assert strengths == sorted(strengths, reverse=True)


def test_maps_say_where_each_attribute_was_read(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    names = bundle.manifest.attributes.names
    class_id = bundle.classes[0].class_id
    maps = explained(http, picture("Jay"), class_id=class_id)["maps"]
    assert sorted(name for item in maps for name in item["attributes"]) == sorted(names)
    for item in maps:
        assert np.array(item["map"]).shape == bundle.manifest.grid
        assert np.sum(item["map"]) == pytest.approx(1, abs=1e-4)
    (one,) = explained(http, picture("Jay"), class_id=class_id, attribute=names[0])["maps"]
    assert one in maps
    assert names[0] in one["attributes"]


def test_classes_are_compared_in_the_order_they_were_named(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    ids = [item.class_id for item in bundle.classes[:2]][::-1]
    answer = explained(http, picture("Jay"), class_ids=",".join(ids))
    assert [item["class_id"] for item in answer["explanations"]] == ids


def test_a_registered_class_is_explained_by_its_own_sheet(
    http: httpx.Client, picture: Picture
) -> None:
    sheet = {"has_crown": "red"}
    made = http.post("/classes", json={"name": "Explained", "attributes": sheet}).json()
    class_id = made["classes"][0]["class_id"]
    image = picture("Jay")
    try:
        (found,) = explained(http, image, class_id=class_id)["explanations"]
        assert found["logit"] == pytest.approx(scores(http, image)[class_id], abs=1e-4)
        # What was not mentioned is the seen mean, a step of no length.
        moved = {p["name"] for p in found["contributions"] if abs(p["contribution"]) > 1e-3}
        assert moved
        assert all(name.startswith("has_crown::") for name in moved)
    finally:
        http.delete(f"/classes/{class_id}")


@pytest.mark.parametrize("attribute", [None, "has_crown::blue"])
def test_a_picture_is_a_png_as_large_as_the_photograph(
    http: httpx.Client, picture: Picture, bundle: Bundle, attribute: str | None
) -> None:
    params = {"class_id": bundle.classes[0].class_id}
    if attribute:
        params["attribute"] = attribute
    image = picture("Jay")
    response = http.post("/explain", content=image, params=params, headers={"Accept": "image/png"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    made = Image.open(io.BytesIO(response.content))
    assert (made.format, made.size) == ("PNG", Image.open(io.BytesIO(image)).size)


@pytest.mark.parametrize("box", ["3999,0,1,3000", "0,2999,4000,1", "3999,2999,1,1"])
def test_a_box_at_the_far_edge_of_a_large_photograph_has_a_picture(
    http: httpx.Client, bundle: Bundle, box: str
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(file, "JPEG")
    response = http.post(
        "/explain",
        content=file.getvalue(),
        params={"class_id": bundle.classes[0].class_id, "box": box},
        headers={"Accept": "image/png"},
    )
    assert response.status_code == 200, response.text
    assert Image.open(io.BytesIO(response.content)).size == (1024, 768)


def test_what_cannot_be_explained_is_a_4xx(
    http: httpx.Client, picture: Picture, problem: Problem, bundle: Bundle
) -> None:
    image, known = picture("Jay"), bundle.classes[0].class_id
    for params, status, code in (
        ({}, 422, "class_missing"),
        ({"class_ids": " , "}, 422, "class_missing"),
        ({"class_ids": ",".join(map(str, range(11)))}, 422, "too_many_classes"),
        ({"class_id": "nobody"}, 404, "unknown_class"),
        ({"class_id": known, "attribute": "nothing"}, 422, "unknown_attribute"),
        ({"class_id": known, "box": "1,2,3"}, 422, "box_invalid"),
        ({"class_id": known, "box": "9999,0,5,5"}, 422, "box_outside"),
    ):
        problem(http.post("/explain", content=image, params=params), status, code)
    problem(
        http.post("/explain", content=b"x", params={"class_id": known}), 422, "image_unreadable"
    )
    two = [("image", ("a.png", image)), ("image", ("b.png", image))]
    problem(http.post("/explain", files=two, params={"class_id": known}), 422, "too_many_images")
    for value, status, code in ((5, 422, "image_type"), ("!", 400, "base64_invalid")):
        listed = {"image": [value]}  # a list of one is one image, too
        problem(http.post("/explain", json=listed, params={"class_id": known}), status, code)
