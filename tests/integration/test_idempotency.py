"""`Idempotency-Key`: a registration that is sent again is not registered again."""

import base64
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
REPLAYED = "idempotent-replayed"


def new(name: str = "Kite", **fields: Any) -> dict[str, Any]:
    return {"name": name, "attributes": KITE, **fields}


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


@pytest.mark.parametrize("body", [new(), {"classes": [new("A"), new("B", class_id="b")]}])
def test_the_second_attempt_gets_the_first_answer(
    http: httpx.Client, key: dict[str, str], body: dict[str, Any]
) -> None:
    first = http.post("/classes", json=body, headers=key)
    assert (first.status_code, REPLAYED in first.headers) == (201, False)
    before = http.get("/classes").json()

    for _ in range(2):
        again = http.post("/classes", json=body, headers=key)
        assert (again.status_code, again.headers[REPLAYED]) == (201, "true")
        assert again.json() == first.json()
        for name in ("location", "etag"):
            assert again.headers.get(name) == first.headers.get(name)
    assert http.get("/classes").json() == before


def test_what_became_of_the_class_makes_no_difference(
    http: httpx.Client, key: dict[str, str]
) -> None:
    model = http.post("/classes", json=new("Model")).json()["classes"][0]["class_id"]
    body = {"name": "Kite", "like": model, "attributes": {"has_wing": "green"}}
    first = http.post("/classes", json=body, headers=key).json()
    (item,) = first["classes"]
    http.put(f"/classes/{item['class_id']}", json=new("Other")).raise_for_status()
    http.delete(f"/classes/{model}").raise_for_status()

    again = http.post("/classes", json=body, headers=key).json()

    assert (again["classes"], again["revision"]) == (first["classes"], first["revision"])
    http.delete(f"/classes/{item['class_id']}").raise_for_status()
    assert http.post("/classes", json=body, headers=key).json()["classes"] == first["classes"]
    assert http.get(f"/classes/{item['class_id']}").status_code == 404


def test_another_body_with_the_same_key_is_refused(
    http: httpx.Client, problem: Problem, key: dict[str, str]
) -> None:
    http.post("/classes", json=new(), headers=key)

    problem(http.post("/classes", json=new("B"), headers=key), 422, "idempotency_key_reused")
    assert http.post("/classes", json=new("B")).status_code == 201


def test_a_refused_registration_may_be_tried_again_with_its_key(
    http: httpx.Client, problem: Problem, key: dict[str, str]
) -> None:
    taken = http.post("/classes", json=new()).json()["classes"][0]["class_id"]
    problem(http.post("/classes", json=new(), headers=key), 409, "name_taken")
    http.delete(f"/classes/{taken}").raise_for_status()

    response = http.post("/classes", json=new(), headers=key)

    assert (response.status_code, REPLAYED in response.headers) == (201, False)


def test_a_key_may_be_quoted(http: httpx.Client, key: dict[str, str]) -> None:
    first = http.post("/classes", json=new(), headers=key)
    quoted = {"Idempotency-Key": f'"{key["Idempotency-Key"]}"'}

    assert http.post("/classes", json=new(), headers=quoted).json() == first.json()


@pytest.mark.parametrize("value", ["", "two words", '"', '""', '"half', "x" * 256, "ü".encode()])
def test_what_is_no_key_is_refused(http: httpx.Client, problem: Problem, value: str) -> None:
    response = http.post("/classes", json=new(), headers={"Idempotency-Key": value})

    problem(response, 400, "idempotency_key_invalid")
    assert len(http.get("/classes").json()["classes"]) == 4


def test_a_key_works_on_every_replica_and_after_a_crash(
    start: Start, database_url: str, picture: Picture, key: dict[str, str]
) -> None:
    first, second = (start(database_url=database_url, refresh_s="3600") for _ in range(2))
    answer = first.client.post("/classes", json=new(), headers=key).json()
    first.kill()

    for server in (second, start(database_url=database_url)):
        again = server.client.post("/classes", json=new(), headers=key)
        assert (again.json(), again.headers[REPLAYED]) == (answer, "true")
        best = server.client.post("/classify", content=picture(KITE)).json()["predictions"][0]
        assert best["name"] == "Kite"
        assert len(server.client.get("/classes").json()["classes"]) == 5


def test_of_many_attempts_at_once_one_registers(
    start: Start, database_url: str, key: dict[str, str]
) -> None:
    servers = [start(database_url=database_url) for _ in range(2)]

    def attempt(number: int) -> tuple[int, str]:
        response = servers[number % 2].client.post("/classes", json=new(), headers=key)
        found = response.json()
        return response.status_code, found.get("code") or json.dumps(found["classes"])

    with ThreadPoolExecutor(12) as pool:
        answers = set(pool.map(attempt, range(48)))

    # The same class in every answer; or, while one server was answering, a conflict.
    assert len(answers - {(409, "idempotency_in_progress")}) == 1
    for server in servers:
        again = server.client.post("/classes", json=new(), headers=key)
        assert (201, json.dumps(again.json()["classes"])) in answers


def test_a_key_is_in_use_until_its_answer(
    start: Start, picture: Picture, problem: Problem, key: dict[str, str]
) -> None:
    server = start(fake_delay_s="1", max_batch="1")
    photograph = base64.b64encode(picture("Jay")).decode()
    body = new(examples=[photograph])  # which takes a second to look at

    with ThreadPoolExecutor(4) as pool:
        attempts = [
            pool.submit(server.client.post, "/classes", json=body, headers=key) for _ in range(4)
        ]
        answers = [attempt.result() for attempt in attempts]

    (first,) = [a for a in answers if a.status_code == 201 and REPLAYED not in a.headers]
    for answer in answers:
        if answer.status_code == 201:  # the first one, or who came after its answer
            assert answer.json() == first.json()
        else:
            problem(answer, 409, "idempotency_in_progress")
    again = server.client.post("/classes", json=body, headers=key)
    assert (again.json(), again.headers[REPLAYED]) == (first.json(), "true")
