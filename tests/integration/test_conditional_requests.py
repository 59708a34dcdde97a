"""`ETag`, `If-None-Match` and `If-Match`: nobody overwrites what they haven't seen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
PATH = "/classes/kite"


def new(name: str = "Kite", **fields: Any) -> dict[str, Any]:
    return {"name": name, "attributes": KITE, **fields}


@pytest.fixture
def tag(http: httpx.Client) -> str:
    """Of a class that is there."""
    return http.post("/classes", json=new(class_id="kite")).headers["etag"]


def test_every_answer_about_one_class_has_the_same_tag_until_it_changes(
    http: httpx.Client, tag: str
) -> None:
    assert tag.startswith('"')
    assert http.get(PATH).headers["etag"] == tag

    replaced = http.put(PATH, json=new("Kite II")).headers["etag"]

    assert replaced != tag
    assert http.get(PATH).headers["etag"] == replaced
    http.delete(PATH)
    assert http.post("/classes", json=new(class_id="kite")).headers["etag"] not in (tag, replaced)
    assert "etag" not in http.post("/classes", json={"classes": [new("X")]}).headers


def test_what_the_client_has_is_not_sent_again(http: httpx.Client, tag: str) -> None:
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = http.get(PATH, headers={"If-None-Match": value})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
    http.put(PATH, json=new("Kite II"))

    response = http.get(PATH, headers={"If-None-Match": tag})

    assert (response.status_code, response.json()["name"]) == (200, "Kite II")
    assert http.get("/classes/none", headers={"If-None-Match": "*"}).status_code == 404


def test_the_bundles_own_classes_have_tags_too(http: httpx.Client, problem: Problem) -> None:
    tag = http.get("/classes/robin").headers["etag"]

    assert http.get("/classes/robin", headers={"If-None-Match": tag}).status_code == 304
    for response in (
        http.put("/classes/robin", json=new(), headers={"If-Match": tag}),
        http.delete("/classes/robin", headers={"If-Match": '"other"'}),
    ):
        problem(response, 409, "bundle_class")


@pytest.mark.parametrize("value", ['"other"', "W/{tag}", "kite", '"other", W/{tag}'])
def test_a_class_that_is_not_what_was_expected_stays_as_it_is(
    http: httpx.Client, problem: Problem, tag: str, value: str
) -> None:
    headers = {"If-Match": value.format(tag=tag)}
    before = http.get(PATH).json()

    problem(http.put(PATH, json=new("Lost"), headers=headers), 412, "precondition_failed")
    # Before the sheet: there is nothing to put it into.
    invalid = {"name": "Lost", "attributes": []}
    problem(http.put(PATH, json=invalid, headers=headers), 412, "precondition_failed")
    problem(http.delete(PATH, headers=headers), 412, "precondition_failed")

    assert http.get(PATH).json() == before
    problem(http.put("/classes/none", json=new(), headers=headers), 404, "unknown_class")
    problem(http.delete("/classes/none", headers=headers), 404, "unknown_class")


@pytest.mark.parametrize("value", ["{tag}", "*", '"other" , {tag}'])
def test_a_class_that_is_what_was_expected_is_changed(
    http: httpx.Client, tag: str, value: str
) -> None:
    replaced = http.put(PATH, json=new("Kite II"), headers={"If-Match": value.format(tag=tag)})
    assert replaced.status_code == 200
    tag = replaced.headers["etag"]

    assert http.delete(PATH, headers={"If-Match": value.format(tag=tag)}).status_code == 200


def test_tags_may_come_in_several_lines(http: httpx.Client, tag: str) -> None:
    headers = [("If-Match", '"other"'), ("If-Match", tag)]

    assert http.delete(PATH, headers=headers).status_code == 200


def test_of_many_that_change_a_class_at_once_each_keeps_what_the_others_did(
    start: Start, database_url: str
) -> None:
    servers = [start(database_url=database_url, refresh_s="60") for _ in range(2)]
    servers[0].client.post("/classes", json=new(class_id="kite", metadata={"count": 0}))

    def count_up(number: int) -> int:
        """Adds 1 by way of what is there, as often as it takes; returns how often it took."""
        http = servers[number % 2].client
        for attempt in range(1, 200):
            found = http.get(PATH)
            count = found.json()["metadata"]["count"]
            response = http.put(
                PATH,
                json=new(metadata={"count": count + 1}),
                headers={"If-Match": found.headers["etag"]},
            )
            if response.status_code == 200:
                return attempt
            assert response.status_code == 412, response.text
        return 200

    with ThreadPoolExecutor(8) as pool:
        attempts = list(pool.map(count_up, range(24)))

    assert servers[0].client.get(PATH).json()["metadata"] == {"count": 24}, attempts
    assert sum(attempts) > 24


def test_of_many_that_register_one_id_one_gets_it_and_the_others_a_409(
    start: Start, database_url: str
) -> None:
    servers = [start(database_url=database_url) for _ in range(2)]

    def register(number: int) -> tuple[int, str]:
        body = new(f"N{number}", class_id=f"c{number // 8}")
        response = servers[number % 2].client.post("/classes", json=body)
        return response.status_code, response.json().get("code", "")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(register, range(32)))

    assert sorted(answers) == [(201, "")] * 4 + [(409, "class_exists")] * 28
