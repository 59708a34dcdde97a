"""`like` in POST and PUT /classes and in POST /preview: a sheet that starts from another one."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.test_preview_contract import previewed

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]

# In the order of the bundle's attributes: crown, breast and wing, each red, green, blue.
JAY = [0, 0, 100, 0, 100, 0, 0, 0, 100]
OWN = [5, 0, 95.5, 0, 100, 1, 0, 0, 60]


def registered(http: httpx.Client, **body: Any) -> dict[str, Any]:
    response = http.post("/classes", json={"name": "New", "class_id": "new", **body})
    assert response.status_code == 201, response.text
    (made,) = response.json()["classes"]
    assert isinstance(made, dict)
    return made


def sheet_of(http: httpx.Client, class_id: str = "new") -> list[float]:
    values: list[float] = http.get(f"/classes/{class_id}").json()["attributes"]
    return values


def test_a_class_that_is_like_another_one_has_its_sheet(http: httpx.Client) -> None:
    answer = http.post("/classes", json={"name": "New", "class_id": "new", "like": "jay"}).json()

    (made,) = answer["classes"]
    assert (made["given"], made["filled"], made["seen"]) == (0, 9, False)
    assert sheet_of(http) == sheet_of(http, "jay") == JAY
    (warning,) = answer["warnings"]
    assert (warning["class_id"], warning["like"]) == ("new", "jay")
    assert warning["similarity"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("attributes", "expected", "given"),
    [
        ({}, JAY, 0),
        (None, JAY, 0),
        ({"has_wing::red": 30}, [*JAY[:6], 30, 0, 100], 1),
        ({"has_wing::blue": 0, "has_crown::red": 1.5}, [1.5, *JAY[1:8], 0], 2),
        ({"has_wing": "red"}, [*JAY[:6], 100, 0, 0], 3),
        ({"has_wing": ["red", "green"]}, [*JAY[:6], 100, 100, 0], 3),
        ({"has_wing": "red", "has_crown::green": 40}, [0, 40, *JAY[2:6], 100, 0, 0], 4),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], [9, 8, 7, 6, 5, 4, 3, 2, 1], 9),
    ],
)
def test_attributes_say_what_differs(
    http: httpx.Client, attributes: Any, expected: list[float], given: int
) -> None:
    made = registered(http, like="jay", attributes=attributes)

    assert sheet_of(http) == expected
    assert (made["given"], made["filled"]) == (given, 9 - given)
    assert sheet_of(http, "jay") == JAY


def test_a_class_may_be_like_a_registered_one_and_outlives_it(http: httpx.Client) -> None:
    registered(http, name="Own", class_id="own", attributes=OWN)
    registered(http, like="own", attributes={"has_breast::red": 50})
    http.put("/classes/own", json={"name": "Own", "attributes": [0] * 9}).raise_for_status()
    http.delete("/classes/own").raise_for_status()

    assert sheet_of(http) == [*OWN[:3], 50, *OWN[4:]]


def test_a_class_that_is_replaced_may_be_like_itself(http: httpx.Client) -> None:
    registered(http, attributes=OWN)

    body = {"name": "New", "like": "new", "attributes": {"has_crown": "green"}}
    http.put("/classes/new", json=body).raise_for_status()

    assert sheet_of(http) == [0, 100, 0, *OWN[3:]]


def test_images_are_compared_with_the_sheet_that_came_of_it(
    http: httpx.Client, picture: Picture
) -> None:
    red_winged = {"has_crown": "blue", "has_breast": "green", "has_wing": "red"}
    image = picture(red_winged)

    registered(http, like="jay", attributes={"has_wing": "red"})
    registered(http, name="Whole", class_id="whole", attributes=red_winged)

    found = http.post("/classify", content=image).json()["predictions"]
    assert {item["class_id"] for item in found[:2]} == {"new", "whole"}
    assert found[0]["score"] == pytest.approx(found[1]["score"], abs=1e-5)


def test_a_draft_may_be_like_another_class_too(http: httpx.Client, picture: Picture) -> None:
    draft = {"name": "New", "class_id": "new", "like": "jay", "attributes": {"has_wing": "red"}}
    image = picture("Robin")

    answer = previewed(http, image, draft, top_k=100)

    registered(http, **draft)
    truth = http.post("/classify", content=image, params={"top_k": 100}).json()
    found = {item["class_id"]: item["score"] for item in answer["predictions"]}
    expected = {item["class_id"]: item["score"] for item in truth["predictions"]}
    assert found == pytest.approx(expected, abs=1e-4)


def test_no_class_can_be_like_one_that_is_not_there(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    registered(http, attributes=OWN)
    before = http.get("/classes").json()
    bad = {"name": "Bad", "like": "nobody"}

    single = problem(http.post("/classes", json=bad), 404, "unknown_class")
    assert "'nobody'" in single["detail"]
    assert "index" not in single
    batch = {"classes": [{"name": "Good", "like": "jay"}, bad, {"name": "Third", "like": "jay"}]}
    assert problem(http.post("/classes", json=batch), 404, "unknown_class")["index"] == 1
    assert "index" not in problem(http.put("/classes/new", json=bad), 404, "unknown_class")
    files = {"image": ("a.png", picture("Jay")), "class": (None, '{"name": "x", "like": "no"}')}
    problem(http.post("/preview", files=files), 404, "unknown_class")

    # Classes of one request are written together: none of them is there for the others.
    pair = [{"name": "A", "class_id": "a", "like": "jay"}, {"name": "B", "like": "a"}]
    assert (
        problem(http.post("/classes", json={"classes": pair}), 404, "unknown_class")["index"] == 1
    )
    assert http.get("/classes").json() == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"like": 7}, 422, "like_invalid"),
        ({"like": ["jay"]}, 422, "like_invalid"),
        ({"like": {}, "attributes": {}}, 422, "like_invalid"),
        ({"like": ""}, 404, "unknown_class"),
        ({"like": "a/b\x00"}, 404, "unknown_class"),
        ({"like": "jay", "attributes": {"has_wing": []}}, 422, "attribute_empty"),
        ({"like": "jay", "attributes": {"has_wings": "red"}}, 422, "unknown_attribute"),
        ({"like": "jay", "attributes": {"has_wing::red": 100.5}}, 422, "attribute_range"),
        ({"like": "jay", "attributes": [1, 2]}, 422, "attribute_count"),
        ({"like": None}, 422, "validation"),
        ({}, 422, "validation"),
        ({"like": None, "attributes": {}}, 422, "attribute_empty"),
        ({"attributes": None}, 422, "attribute_type"),
    ],
)
def test_what_is_wrong_has_its_code(
    http: httpx.Client, problem: Problem, body: dict[str, Any], status: int, code: str
) -> None:
    problem(http.post("/classes", json={"name": "New", **body}), status, code)

    several = {"classes": [{"name": "First", "like": "jay"}, {"name": "New", **body}]}
    found = problem(http.post("/classes", json=several), status, code)
    if code == "validation":
        assert found["errors"][0]["field"] == "classes.1.attributes"
    else:
        assert found["index"] == 1
    assert all(item["seen"] for item in http.get("/classes").json()["classes"])
