"""`POST /describe` and `GET /classes/{id}/neighbours`, over a real socket."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from model.bundle import Bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]


def test_a_photograph_suggests_the_sheet_of_what_it_shows(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    answer = http.post("/describe", content=picture("Jay")).json()
    assert answer.keys() == {"attributes", "spread", "images", "bundle"}
    assert answer["images"] == 1
    names = bundle.manifest.attributes.names
    assert tuple(answer["attributes"]) == tuple(answer["spread"]) == names
    expected = next(item for item in bundle.classes if item.name == "Jay").attributes
    np.testing.assert_allclose(list(answer["attributes"].values()), expected, atol=6)
    assert not any(answer["spread"].values())


def test_several_photographs_give_mean_and_spread(http: httpx.Client, picture: Picture) -> None:
    first, second = bundle_pictures = [picture("Jay"), picture("Cardinal")]
    alone = [
        list(http.post("/describe", content=image).json()["attributes"].values())
        for image in bundle_pictures
    ]
    files = [("image", ("a.png", first)), ("image", ("b.png", second))]
    both = http.post("/describe", files=files).json()
    assert both["images"] == 2
    np.testing.assert_allclose(list(both["attributes"].values()), np.mean(alone, axis=0), atol=1e-3)
    np.testing.assert_allclose(list(both["spread"].values()), np.std(alone, axis=0), atol=1e-3)


def test_a_suggested_sheet_makes_a_class_that_wins_at_once(
    http: httpx.Client, picture: Picture
) -> None:
    sheet = {"has_crown": "red", "has_breast": "red", "has_wing": "blue"}
    image = picture(sheet)
    suggested = http.post("/describe", content=image).json()["attributes"]
    made = http.post("/classes", json={"name": "Suggested", "attributes": suggested})
    assert made.status_code == 201
    class_id = made.json()["classes"][0]["class_id"]
    try:
        best = http.post("/classify", content=image).json()["predictions"][0]
        assert best["class_id"] == class_id
    finally:
        http.delete(f"/classes/{class_id}")


def test_a_photograph_that_cannot_be_used_is_named(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    problem(http.post("/describe", content=b"x"), 422, "image_unreadable")
    files = [("image", ("a.png", picture("Jay"))), ("image", ("b.png", b"x"))]
    found = problem(http.post("/describe", files=files), 422, "image_unreadable")
    assert found["index"] == 1
    assert "image 2 of 2" in found["detail"]


def test_neighbours_are_the_classes_with_the_nearest_prototypes(
    http: httpx.Client, bundle: Bundle, problem: Problem
) -> None:
    first = bundle.classes[0]
    sheet = [float(value) for value in first.attributes]
    sheet[0] = max(0.0, sheet[0] - 10)
    made = http.post("/classes", json={"name": "Nearly the first", "attributes": sheet}).json()
    class_id = made["classes"][0]["class_id"]
    try:
        answer = http.get(f"/classes/{first.class_id}/neighbours").json()
        near = answer["neighbours"]
        assert near[0]["class_id"] == class_id
        assert near[0].keys() == {"class_id", "name", "seen", "similarity"}
        similarities = [item["similarity"] for item in near]
        assert similarities == sorted(similarities, reverse=True)
        assert first.class_id not in [item["class_id"] for item in near]
        (one,) = http.get(f"/classes/{class_id}/neighbours", params={"limit": 1}).json()[
            "neighbours"
        ]
        assert one["class_id"] == first.class_id
        assert one["similarity"] == pytest.approx(near[0]["similarity"], abs=1e-5)
    finally:
        http.delete(f"/classes/{class_id}")
    problem(http.get("/classes/nobody/neighbours"), 404, "unknown_class")
    problem(http.get(f"/classes/{first.class_id}/neighbours?limit=0"), 422, "validation")


def test_a_class_that_is_nearly_another_one_is_registered_with_a_warning(
    http: httpx.Client, bundle: Bundle
) -> None:
    first = bundle.classes[0]
    sheet = [float(value) for value in first.attributes]
    sheet[0] = abs(sheet[0] - 1)
    twins = [{"name": f"Twin {i}", "class_id": f"twin-{i}", "attributes": sheet} for i in (1, 2)]
    (alone,) = http.post("/classes", json=twins[0]).json()["warnings"]
    try:
        assert (alone["class_id"], alone["like"]) == ("twin-1", first.class_id)
        assert alone["similarity"] > 0.95
        assert repr(first.name) in alone["detail"]
        both = http.post("/classes", json={"classes": twins[1:]}).json()["warnings"]
        assert [item["class_id"] for item in both] == ["twin-2"]
        other = {"name": "Of its own", "attributes": {"has_crown": "red", "has_wing": "green"}}
        replaced = http.put("/classes/twin-2", json=other).json()
        assert "warnings" not in replaced
        again = http.put("/classes/twin-2", json={"name": "Twin 3", "attributes": sheet}).json()
        assert [item["class_id"] for item in again["warnings"]] == ["twin-2"]
    finally:
        for twin in twins:
            http.delete(f"/classes/{twin['class_id']}")
