"""Teams that share a service: what one registers, the others neither see nor stumble over."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from model.bundle import Bundle
from tests.integration.asking import GULL, KITE, best, until

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

FLEET = {"collection": "fleet-a"}


@pytest.fixture
def server(start: Start) -> Any:
    return start()


def register(http: httpx.Client, collection: str, class_id: str, sheet: Any) -> httpx.Response:
    body = {"name": class_id.title(), "class_id": class_id, "attributes": sheet}
    return http.post("/classes", json=body, params={"collection": collection})


def test_each_collection_classifies_by_its_own_classes_and_the_bundles(
    server: Any, picture: Picture, bundle: Bundle
) -> None:
    http = server.client
    alone = best(server, picture(KITE))
    register(http, "fleet-a", "kite", KITE).raise_for_status()
    register(http, "fleet-b", "kite", GULL).raise_for_status()

    assert best(server, picture(KITE), collection="fleet-a") == "Kite"
    assert best(server, picture(GULL), collection="fleet-b") == "Kite"
    for collection in ("fleet-b", "default", "nobody-s"):
        assert best(server, picture(KITE), collection=collection) == alone
    assert best(server, picture(KITE)) == alone
    answer = http.post("/classify", content=picture(KITE), params={**FLEET, "top_k": 99}).json()
    assert {item["class_id"] for item in answer["predictions"]} == {
        "kite",
        *(own.class_id for own in bundle.classes),
    }
    only = {**FLEET, "scope": "unseen"}
    found = http.post("/classify", content=picture(GULL), params=only).json()["predictions"]
    assert [(item["class_id"], item["probability"]) for item in found] == [("kite", 1.0)]


def test_an_id_of_another_collection_is_unknown_everywhere(
    server: Any, picture: Picture, problem: Problem
) -> None:
    http, image = server.client, picture(KITE)
    register(http, "fleet-a", "kite", KITE).raise_for_status()
    etag = http.get("/classes/kite", params=FLEET).headers["etag"]

    for method, path, arguments in (
        ("GET", "/classes/kite", {}),
        ("GET", "/classes/kite/neighbours", {}),
        ("PUT", "/classes/kite", {"json": {"name": "Mine", "attributes": GULL}}),
        ("DELETE", "/classes/kite", {}),
        ("POST", "/explain", {"content": image, "params": {"class_id": "kite"}}),
        ("POST", "/classify", {"content": image, "params": {"classes": "kite"}}),
        ("POST", "/classes", {"json": {"name": "Mine", "like": "kite"}}),
    ):
        for collection in ({}, {"collection": "fleet-b"}):
            given = dict(arguments)
            given["params"] = {**given.get("params", {}), **collection}
            problem(http.request(method, path, **given), 404, "unknown_class")

    assert http.get("/classes/kite", params=FLEET).headers["etag"] == etag
    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    assert all(item["seen"] for item in listed)


def test_every_operation_works_in_a_collection(
    server: Any, picture: Picture, bundle: Bundle
) -> None:
    http, image = server.client, picture(KITE)
    made = register(http, "fleet-a", "kite", KITE)
    assert made.headers["location"] == "/classes/kite?collection=fleet-a"
    assert http.get(made.headers["location"]).json()["name"] == "Kite"
    like = {"name": "Second", "like": "kite", "class_id": "second"}
    warned = http.post("/classes", json=like, params=FLEET).json()["warnings"]
    assert warned[0]["like"] == "kite"

    near = http.get("/classes/second/neighbours", params={**FLEET, "limit": 1}).json()
    assert near["neighbours"][0]["class_id"] == "kite"
    asked = {**FLEET, "class_id": "kite"}
    (why,) = http.post("/explain", content=image, params=asked).json()["explanations"]
    score = http.post("/classify", content=image, params={**FLEET, "classes": "kite"}).json()
    assert why["logit"] == pytest.approx(score["predictions"][0]["score"], abs=1e-4)
    draft = '{"name": "Third", "like": "second", "class_id": "third"}'
    form = {"image": ("", image), "class": ("", draft, "application/json")}
    shown = http.post("/preview", files=form, params={**FLEET, "scope": "unseen"}).json()
    assert {item["class_id"] for item in shown["predictions"]} == {"kite", "second", "third"}

    tensor = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [b64encode(image).decode()],
    }
    body = {"inputs": [tensor], "parameters": {"top_k": 1, **FLEET}}
    inferred = http.post(f"/v2/models/{bundle.name}/infer", json=body).json()
    assert inferred["outputs"][0]["data"][0] in ("kite", "second")

    http.put(
        "/classes/kite", json={"name": "Gull", "attributes": GULL}, params=FLEET
    ).raise_for_status()
    http.delete("/classes/second", params=FLEET).raise_for_status()
    assert best(server, picture(GULL), collection="fleet-a") == "Gull"
    assert server.metric("umzero_classes") == len(bundle.classes) + 1


def test_the_same_key_is_another_request_in_another_collection(server: Any) -> None:
    http, key = server.client, {"Idempotency-Key": "of-a-client"}
    body = {"name": "Kite", "attributes": KITE, "class_id": "kite"}

    answers = [
        http.post("/classes", json=body, headers=key, params={"collection": collection})
        for collection in ("fleet-a", "fleet-b", "fleet-a")
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert [answer.json()["revision"] for answer in answers] == [1, 2, 1]
    assert "idempotent-replayed" in answers[2].headers


def test_a_collections_name_is_checked(server: Any, problem: Problem, picture: Picture) -> None:
    for name in ("", "a b", "a/b", "x" * 101, "ä"):
        for method, path in (("GET", "/classes"), ("POST", "/classify"), ("GET", "/export")):
            answer = server.client.request(method, path, params={"collection": name})
            problem(answer, 422, "validation")
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["eA=="]}
    body = {"inputs": [tensor], "parameters": {"collection": "a b"}}
    answer = server.client.post("/v2/models/fake/infer", json=body)
    assert answer.status_code == 400
    assert "collection" in answer.json()["error"]


def test_replicas_and_a_restart_keep_the_collections_apart(
    start: Start, database_url: str, picture: Picture
) -> None:
    first, second = (start(database_url=database_url) for _ in range(2))
    image = picture(KITE)
    alone = best(second, image)
    register(first.client, "fleet-a", "kite", KITE).raise_for_status()
    revision = register(first.client, "fleet-b", "gull", GULL).json()["revision"]

    until(lambda: best(second, image, collection="fleet-a") == "Kite", "it knows the class")
    asked = {"collection": "fleet-b", "min_revision": revision}
    assert best(second, picture(GULL), **asked) == "Gull"
    assert best(second, image) == best(second, image, collection="fleet-b") == alone
    first.kill()
    third = start(database_url=database_url)
    assert best(third, image, collection="fleet-a") == "Kite"
    assert best(third, image) == alone
    third.client.delete("/classes/kite", params=FLEET).raise_for_status()
    until(lambda: best(second, image, collection="fleet-a") == alone, "it is gone there, too")


def test_the_administrator_sees_how_many_classes_there_are(begin: Start) -> None:
    server = begin()
    register(server.client, "fleet-a", "kite", KITE).raise_for_status()
    register(server.client, "default", "gull", GULL).raise_for_status()
    admin = {"Authorization": "Bearer of-the-tests"}

    found = server.client.get("/admin/collections", headers=admin).json()

    assert found["collections"] == [
        {"collection": "default", "classes": 1},
        {"collection": "fleet-a", "classes": 1},
    ]
    assert found["revision"] == 2
    assert server.client.get("/admin/collections").status_code == 401
