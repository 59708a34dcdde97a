"""Errors as problem details."""

import json

import pytest

from model.errors import ImageError
from service import errors
from service.errors import Overloaded, RequestError, ServiceError, SheetRefused, UnknownClass
from service.http.deps import quick_answer
from service.http.problems import problem_of, response_of


def test_an_unknown_error_shows_nothing_of_itself() -> None:
    problem = problem_of(RuntimeError("password of the database"))

    assert (problem["status"], problem["code"]) == (500, "internal")
    assert "password" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ImageError("image_truncated", "x"), 422, "image_truncated"),
        (ImageError("image_too_large", "x"), 413, "image_too_large"),
        (UnknownClass("x"), 404, "unknown_class"),
        (RequestError(415, "unsupported_media_type", "x"), 415, "unsupported_media_type"),
        (SheetRefused("attribute_range", "x"), 422, "attribute_range"),
    ],
)
def test_an_error_of_ours_keeps_its_status_and_code(
    error: Exception, status: int, code: str
) -> None:
    response = response_of(error)
    problem = json.loads(response.body)

    assert response.status_code == problem["status"] == status
    assert response.media_type == "application/problem+json"
    assert (problem["code"], problem["detail"]) == (code, "x")
    assert {"type", "title"} <= problem.keys()


def test_the_index_of_an_item_is_told_only_where_there_is_a_list() -> None:
    assert problem_of(SheetRefused("c", "x", index=0))["index"] == 0
    assert "index" not in problem_of(SheetRefused("c", "x"))


def test_whoever_may_come_back_is_told_when() -> None:
    assert response_of(Overloaded("x")).headers["retry-after"] == "1"


def test_a_slow_body_ends_its_connection() -> None:
    assert response_of(errors.BodyTimeout("x")).headers["connection"] == "close"


def test_text_that_utf8_can_not_carry_is_answered_all_the_same() -> None:
    problem = json.loads(response_of(UnknownClass("\ud800")).body)

    assert problem["detail"] == "\ud800"


def test_every_503_says_when_to_come_back() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    unavailable = [
        kind
        for kind in kinds
        if issubclass(kind, ServiceError) and getattr(kind, "status", None) == 503
    ]

    assert len(unavailable) >= 5
    assert all(kind.retry_after_s for kind in unavailable)


def test_an_answer_that_utf_8_cannot_carry_is_written_in_ascii() -> None:
    content = {"name": "Möwe", "other": "\ud800", "score": 0.1}
    assert json.loads(quick_answer(content).body) == content
    quick = quick_answer({"name": "Möwe", "score": 1 / 3})
    assert json.loads(quick.body) == {"name": "Möwe", "score": 1 / 3}
    assert quick.headers["content-type"] == "application/json"
