"""`examples` that can't be used, in POST and PUT /classes and in POST /preview."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.integration.test_bad_images import png_of_size
from tests.integration.test_examples_contract import base64_of, body_of, register

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]
Score = Callable[..., float]


def half_of_a_jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("example", "status", "code"),
    [
        ("not base64!", 400, "base64_invalid"),
        ("abc", 400, "base64_invalid"),
        (7, 422, "image_type"),
        (None, 422, "image_type"),
        ({"image": "AAAA"}, 422, "image_type"),
        ("", 422, "image_empty"),
        ("data:image/png", 422, "image_empty"),
        (base64_of(b"no image at all"), 422, "image_unreadable"),
        (base64_of(png_of_size(30_000, 30_000)), 413, "image_too_large"),
        (base64_of(half_of_a_jpeg()), 422, "image_truncated"),
    ],
)
def test_a_photograph_that_can_not_be_used_is_named_and_nothing_is_written(
    http: httpx.Client,
    picture: Picture,
    problem: Problem,
    example: Any,
    status: int,
    code: str,
) -> None:
    register(http, name="Kept", class_id="kept")
    before = http.get("/classes").json()
    bad = body_of(examples=[base64_of(picture("Jay")), example])

    single = problem(http.post("/classes", json=bad), status, code)
    batch = {"classes": [body_of([picture("Jay")], name="Good", class_id="good"), bad]}
    several = problem(http.post("/classes", json=batch), status, code)
    replaced = problem(http.put("/classes/kept", json=bad | {"class_id": "kept"}), status, code)
    form = {"image": ("a.png", picture("Jay")), "class": (None, json.dumps(bad))}
    drafted = problem(http.post("/preview", files=form), status, code)

    assert several.pop("index") == 1
    for told in (single, several, replaced, drafted):
        assert told["detail"].startswith("examples[1]: ")
        assert "index" not in told
    assert http.get("/classes").json() == before


@pytest.mark.parametrize(
    "examples",
    [None, "text", {}, ["AAAA"] * 17],
    ids=["null", "a text", "an object", "17 of them"],
)
def test_photographs_are_a_list_of_at_most_16(
    http: httpx.Client, problem: Problem, examples: Any
) -> None:
    body = problem(http.post("/classes", json=body_of(examples=examples)), 422, "validation")
    assert body["errors"][0]["field"] == "examples"

    batch = {"classes": [body_of(name="A", class_id="a"), body_of(examples=examples)]}
    body = problem(http.post("/classes", json=batch), 422, "validation")
    assert body["errors"][0]["field"] == "classes.1.examples"


def test_photographs_alone_are_no_class(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    body = {"name": "New", "examples": [base64_of(picture("Jay"))]}
    problem(http.post("/classes", json=body), 422, "validation")


def test_a_photograph_has_no_more_bytes_than_an_image_may_have(
    start: Start, picture: Picture, problem: Problem
) -> None:
    small, large = picture("Jay"), picture("Jay") + bytes(5000)
    client = start(max_image_bytes="4000").client
    assert len(small) < 4000

    problem(client.post("/classify", content=large), 413, "body_too_large")
    refused = problem(client.post("/classes", json=body_of([small, large])), 413, "body_too_large")

    assert "examples[1]" in refused["detail"]
    batch = {"classes": [body_of(name="A", class_id="a"), body_of([large])]}
    assert problem(client.post("/classes", json=batch), 413, "body_too_large")["index"] == 1
    register(client, [small])


def test_several_images_to_describe_are_refused_as_one_is(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    images = [base64_of(picture("Jay")), base64_of(png_of_size(30_000, 30_000))]
    found = problem(http.post("/describe", json={"image": images}), 413, "image_too_large")
    assert found["index"] == 1
