"""Every row of the contract of `/classes` and `/attributes`, over a real socket."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from model.bundle import Bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
NUMBERS = [0, 0, 100, 0, 0, 100, 100, 0, 0]  # the same sheet
JSON = {"content-type": "application/json"}


def new(name: str = "Kite", **fields: Any) -> dict[str, Any]:
    return {"name": name, "attributes": KITE, **fields}


def names(http: httpx.Client) -> list[str]:
    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    return [item["name"] for item in listed]


def test_attributes_are_listed_in_the_order_of_a_sheet(http: httpx.Client, bundle: Bundle) -> None:
    answer = http.get("/attributes").json()

    space = bundle.manifest.attributes
    assert answer["count"] == 9
    assert [item["name"] for item in answer["attributes"]] == list(space.names)
    assert [item["group"] for item in answer["attributes"]] == list(space.groups)
    for position, item in enumerate(answer["attributes"]):
        assert item.keys() == {"name", "group", "min", "max", "mean"}
        column = [own.attributes[position] for own in bundle.classes]
        assert (item["min"], item["max"]) == (0, 100)
        assert item["mean"] == pytest.approx(sum(column) / len(column))


@pytest.mark.parametrize(
    "sheet",
    [
        NUMBERS,
        {"has_crown::blue": 100, "has_breast::blue": 100, "has_wing::red": 100},
        KITE,
        {"has_crown": ["blue"], "has_breast": "has_breast::blue", "has_wing::red": 100},
    ],
    ids=["numbers", "names", "groups", "mixed"],
)
def test_a_class_of_any_form_of_sheet_is_recognised_at_once(
    http: httpx.Client, picture: Picture, sheet: Any
) -> None:
    response = http.post("/classes", json={"name": "Kite", "attributes": sheet})

    assert response.status_code == 201
    answer = response.json()
    (item,) = answer["classes"]
    assert (item["name"], item["seen"], item["origin"]) == ("Kite", False, "registered")
    assert (item["given"], item["filled"]) == (9, 0)
    assert item["revision"] == answer["revision"]
    assert response.headers["location"] == f"/classes/{item['class_id']}"
    found = http.get(response.headers["location"]).json()
    assert found["attributes"] == NUMBERS
    best = http.post("/classify", content=picture(KITE)).json()["predictions"][0]
    assert (best["class_id"], best["seen"]) == (item["class_id"], False)


def test_a_partial_sheet_says_what_was_filled_with_the_seen_mean(
    http: httpx.Client, bundle: Bundle
) -> None:
    sheet = {"has_crown": "blue", "has_wing::green": 30}
    item = http.post("/classes", json=new(attributes=sheet)).json()["classes"][0]

    assert (item["given"], item["filled"]) == (6, 3)
    mean = [float(value) for value in bundle.manifest.attributes.mean]
    found = http.get(f"/classes/{item['class_id']}").json()["attributes"]
    assert found == pytest.approx([0, 0, 100, *mean[3:6], 0, 30, 0])


def test_get_answers_the_object_of_the_list_with_attributes_and_metadata(
    http: httpx.Client, bundle: Bundle
) -> None:
    metadata = {"source": "field guide", "pages": [1, 2.5], "ok": None, "odd": "\ud800 ü 鳶"}
    body = json.dumps(new(class_id="kite-1", metadata=metadata))
    assert http.post("/classes", content=body, headers=JSON).status_code == 201

    listed = {item["class_id"]: item for item in http.get("/classes").json()["classes"]}
    for class_id, expected in (("kite-1", metadata), ("robin", {})):
        found = http.get(f"/classes/{class_id}").json()
        assert found == {
            **listed[class_id],
            "attributes": found["attributes"],
            "metadata": expected,
        }
    robin = next(own for own in bundle.classes if own.class_id == "robin")
    own = http.get("/classes/robin").json()
    assert own["attributes"] == list(robin.attributes)
    assert (own["seen"], own["origin"], own["created_at"]) == (True, "bundle", None)


def test_a_batch_is_registered_in_order_and_in_one_revision(http: httpx.Client) -> None:
    before = http.get("/classes").json()["revision"]
    batch = [new(f"Kite {number}", class_id=f"k{number}") for number in range(25)]

    response = http.post("/classes", json={"classes": batch})

    assert response.status_code == 201
    answer = response.json()
    assert [item["class_id"] for item in answer["classes"]] == [f"k{n}" for n in range(25)]
    assert answer["revision"] == before + 1
    assert {item["revision"] for item in answer["classes"]} == {before + 1}
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (new("Jay"), 409, "name_taken"),
        (new("Kite 0"), 409, "name_taken"),
        (new("X", class_id="k0"), 409, "class_exists"),
        (new("X", class_id="robin"), 409, "bundle_class"),
        (new("X", class_id="there"), 409, "class_exists"),
        (new("X", attributes=[1]), 422, "attribute_count"),
        (new("X", class_id="a b"), 422, "class_id_invalid"),
        (new(""), 422, "name_invalid"),
    ],
)
def test_one_bad_class_refuses_the_whole_batch_and_is_pointed_at(
    http: httpx.Client, problem: Problem, bad: dict[str, Any], status: int, code: str
) -> None:
    http.post("/classes", json=new("There", class_id="there"))
    before = http.get("/classes").json()

    batch = [new("Kite 0", class_id="k0"), bad, new("Kite 2")]
    body = problem(http.post("/classes", json={"classes": batch}), status, code)

    assert body["index"] == 1
    assert http.get("/classes").json() == before


def test_pages_hold_every_class_once_in_the_order_of_ids(http: httpx.Client) -> None:
    batch = [new(f"Kite {number}", class_id=f"K{number:03d}") for number in range(23)]
    http.post("/classes", json={"classes": batch}).raise_for_status()

    listed: list[str] = []
    after = None
    while True:
        query = {"limit": 5} if after is None else {"limit": 5, "after": after}
        page = http.get("/classes", params=query).json()
        assert len(page["classes"]) <= 5
        listed += [item["class_id"] for item in page["classes"]]
        after = page["next"]
        if after is None:
            break
        assert after == listed[-1]

    own = ["cardinal", "jay", "parrot", "robin"]
    assert listed == sorted([*own, *(f"K{number:03d}" for number in range(23))])
    between = http.get("/classes", params={"after": "K021x", "limit": 1}).json()
    assert [item["class_id"] for item in between["classes"]] == ["K022"]
    last = http.get("/classes", params={"after": "zzz"}).json()
    assert (last["classes"], last["next"]) == ([], None)


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1"])
def test_a_page_has_1_to_1000_classes(http: httpx.Client, problem: Problem, limit: str) -> None:
    problem(http.get(f"/classes?limit={limit}"), 422, "validation")


def test_put_replaces_a_class(http: httpx.Client, picture: Picture) -> None:
    http.post("/classes", json=new(class_id="kite", metadata={"old": 1})).raise_for_status()
    other = {"has_crown": "green", "has_breast": "green", "has_wing": "green"}

    response = http.put("/classes/kite", json=new("Greenfinch", attributes=other))

    assert response.status_code == 200
    answer = response.json()
    assert (answer["class_id"], answer["name"], answer["seen"]) == ("kite", "Greenfinch", False)
    found = http.get("/classes/kite").json()
    assert found["metadata"] == {}
    assert found["revision"] == answer["revision"]
    classified = http.post(
        f"/classify?min_revision={answer['revision']}", content=picture(other)
    ).json()
    assert classified["predictions"][0]["name"] == "Greenfinch"
    assert "Kite" not in names(http)
    assert http.put("/classes/kite", json=new("Greenfinch", class_id="kite")).status_code == 200


def test_put_refuses_what_it_can_not_replace(http: httpx.Client, problem: Problem) -> None:
    http.post("/classes", json={"classes": [new("A", class_id="a"), new("B", class_id="b")]})

    problem(http.put("/classes/never", json=new()), 404, "unknown_class")
    problem(http.put("/classes/a%20b", json=new()), 404, "unknown_class")
    problem(http.put("/classes/robin", json=new()), 409, "bundle_class")
    problem(http.put("/classes/a", json=new("B")), 409, "name_taken")
    problem(http.put("/classes/a", json=new("Robin")), 409, "name_taken")
    problem(http.put("/classes/a", json=new("C", class_id="b")), 422, "class_id_mismatch")
    body = problem(http.put("/classes/a", json=new("C", attributes=[1])), 422, "attribute_count")
    assert "index" not in body
    assert http.get("/classes/a").json()["name"] == "A"


def test_delete_removes_a_class_and_frees_its_id_and_name(
    http: httpx.Client, problem: Problem, picture: Picture
) -> None:
    http.post("/classes", json=new(class_id="kite")).raise_for_status()

    response = http.delete("/classes/kite")

    assert response.status_code == 200
    assert response.json()["class_id"] == "kite"
    query = {"min_revision": response.json()["revision"], "top_k": 9}
    classified = http.post("/classify", params=query, content=picture(KITE)).json()
    assert "kite" not in [item["class_id"] for item in classified["predictions"]]
    problem(http.get("/classes/kite"), 404, "unknown_class")
    problem(http.delete("/classes/kite"), 404, "unknown_class")
    problem(http.delete("/classes/robin"), 409, "bundle_class")
    assert http.post("/classes", json=new(class_id="kite")).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json_invalid"),
        (b"{", 400, "json_invalid"),
        (b"[]", 422, "validation"),
        (b'{"name": "K"}', 422, "validation"),
        (b'{"attributes": {}}', 422, "validation"),
        (b'{"name": "K", "attributes": {}, "extra": 1}', 422, "validation"),
        (b'{"name": "K", "name": "L", "attributes": {}}', 422, "duplicate_key"),
        (
            b'{"name": "K", "attributes": {"has_wing": "red", "has_wing": "blue"}}',
            422,
            "duplicate_key",
        ),
        (b'{"classes": []}', 422, "validation"),
        (b'{"classes": {}}', 422, "validation"),
        (b'{"classes": [5]}', 422, "validation"),
        (b'{"name": "K", "attributes": {}}', 422, "attribute_empty"),
        (b'{"name": "K", "attributes": [1, 2]}', 422, "attribute_count"),
        (b'{"name": "K", "attributes": [NaN,0,0,0,0,0,0,0,0]}', 422, "attribute_not_finite"),
        (b'{"name": "K", "attributes": [1e999,0,0,0,0,0,0,0,0]}', 422, "attribute_not_finite"),
        (b'{"name": "K", "attributes": [101,0,0,0,0,0,0,0,0]}', 422, "attribute_range"),
        (b'{"name": "K", "attributes": [-1,0,0,0,0,0,0,0,0]}', 422, "attribute_range"),
        (b'{"name": "K", "attributes": [true,0,0,0,0,0,0,0,0]}', 422, "attribute_type"),
        (b'{"name": "K", "attributes": "red"}', 422, "attribute_type"),
        (b'{"name": "K", "attributes": null}', 422, "attribute_type"),
        (b'{"name": "K", "attributes": {"has_tail": "red"}}', 422, "unknown_attribute"),
        (b'{"name": "K", "attributes": {"has_wing": "pink"}}', 422, "unknown_attribute"),
        (b'{"name": "K", "attributes": {"\\ud800": 5}}', 422, "unknown_attribute"),
        (
            b'{"name": "K", "attributes": {"has_wing": "red", "has_wing::red": 5}}',
            422,
            "attribute_repeated",
        ),
        (b'{"name": "a\\u0000b", "attributes": {"has_wing": "red"}}', 422, "name_invalid"),
        (b'{"name": "\\ud800", "attributes": {"has_wing": "red"}}', 422, "name_invalid"),
        (
            b'{"name": "K", "class_id": "..", "attributes": {"has_wing": "red"}}',
            422,
            "class_id_invalid",
        ),
        (
            b'{"name": "K", "metadata": [], "attributes": {"has_wing": "red"}}',
            422,
            "metadata_invalid",
        ),
        (
            b'{"name": "K", "metadata": {"a": NaN}, "attributes": {"has_wing": "red"}}',
            422,
            "metadata_invalid",
        ),
    ],
)
def test_a_bad_sheet_is_refused_with_its_code_and_registers_nothing(
    http: httpx.Client, problem: Problem, body: bytes, status: int, code: str
) -> None:
    problem(http.post("/classes", content=body, headers=JSON), status, code)

    assert sorted(names(http)) == ["Cardinal", "Jay", "Parrot", "Robin"]


def test_a_batch_has_at_most_10000_classes(http: httpx.Client, problem: Problem) -> None:
    batch = [new(f"K{number}") for number in range(10_001)]

    problem(http.post("/classes", json={"classes": batch}), 422, "validation")
    assert http.post("/classes", json={"classes": batch[:1100]}).status_code == 201
    assert http.get("/classes?limit=1000").json()["next"] is not None
    for item in http.get("/classes?limit=1000").json()["classes"]:
        if not item["seen"]:
            http.delete(f"/classes/{item['class_id']}")


def test_a_body_of_sheets_is_json(http: httpx.Client, problem: Problem) -> None:
    response = http.post("/classes", content=b"{}", headers={"content-type": "text/plain"})

    problem(response, 415, "unsupported_media_type")


def test_unknown_paths_and_methods_are_problems_too(http: httpx.Client, problem: Problem) -> None:
    problem(http.get("/nothing"), 404, "not_found")
    problem(http.get("/classes/"), 404, "not_found")
    problem(http.get("/classes/a/b"), 404, "not_found")
    wrong = http.patch("/classes")
    problem(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, HEAD, POST"
    problem(http.get("/classify"), 405, "method_not_allowed")


def test_head_answers_as_get_does_without_a_body(http: httpx.Client) -> None:
    for path in ("/livez", "/classes", "/classes/robin", "/attributes"):
        shown, head = http.get(path), http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(shown.content))


def test_numbers_come_back_as_they_were_given(http: httpx.Client) -> None:
    numbers = [1.4598540146, 0.1, 100.0, 33.3, 2.9197080292, 1e-9, 59.8540145985, 7.0, 99.99]
    http.post("/classes", json={"class_id": "exact", "name": "Exact", "attributes": numbers})

    assert http.get("/classes/exact").json()["attributes"] == numbers
