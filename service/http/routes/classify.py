"""`POST /classify`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from model.errors import ImageError
from service.engine.generation import Generation
from service.errors import RequestError, ServiceError
from service.http import bodies, faults
from service.http.deps import (
    QuestionDep,
    ServiceDep,
    admitted,
    largest_body,
    quick_answer,
    quick_json,
)
from service.http.images import images_in
from service.http.openapi import documented
from service.http.problems import noted, problem_of
from service.http.schemas import Classification, Classifications
from service.lifecycle import Service
from service.usecases.classify import Answer, Question

router = APIRouter(tags=["classify"])

Result = Answer | ImageError | RequestError

# Predictions of one answer. To write more takes longer than others should wait for the event loop.
_LARGE = 10_000

_BINARY = {"schema": {"type": "string", "format": "binary"}}


def image_body(**bounds: int) -> dict[str, Any]:
    """OpenAPI's `requestBody` for images; `bounds` of a list of them, as JSON Schema has them."""
    one = {"type": "string", "format": "byte", "contentEncoding": "base64"}
    several = {"type": "array", "minItems": 1, **bounds}
    in_form = {"image": {**several, "items": _BINARY["schema"]}}
    in_json = {"image": {"anyOf": [one, {**several, "items": one}]}}
    shapes = {"multipart/form-data": in_form, "application/json": in_json}
    content: dict[str, Any] = {"image/*": _BINARY, "application/octet-stream": _BINARY}
    for media_type, properties in shapes.items():
        content[media_type] = {
            "schema": {"type": "object", "required": ["image"], "properties": properties}
        }
    content["application/json"]["schema"]["additionalProperties"] = False
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/classify",
    summary="Classify images",
    response_model=Classification | Classifications,
    responses=documented(
        faults.IMAGES,
        faults.BOX,
        faults.UNKNOWN_CLASS,
        faults.NO_CANDIDATES,
        faults.REVISION,
        faults.STORE,
    ),
    openapi_extra=image_body(),
)
async def classify(request: Request, service: ServiceDep, question: QuestionDep) -> Response:
    """Which classes does an image show? The best `top_k`, the most probable first.

    Send the image as the field `image` of a form, as the body itself, or as base64 in JSON; several
    fields, or a list in JSON, are several images. Then the answer is `results`, one for each image
    in its order, and one that can't be used has its `problem` in its place.

        curl -F image=@photo.jpg 'http://127.0.0.1:8000/classify?top_k=3'
        curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/classify

    `score` is the logit of a class, before `gamma`; `probability` comes after it, over the
    candidates, which `scope` and `classes` narrow. `known` is false where even the best candidate
    is too far away: the image is probably of none of them. `attributes` are those that the image
    shows most, on the sheet's scale. `revision` says which state of the registry was asked: who
    sends the revision of their own write as `min_revision` finds their class on any replica.
    """
    started = time.perf_counter()
    generation = service.admitting()
    content_type = request.headers.get("content-type", "")
    bodies.check_media_type(content_type)
    async with admitted(request, service, largest_body(service.settings, content_type)) as body:
        return await _answer(service, generation, question, body, content_type, started)


class Direct:
    """ASGI: `classify` without a query, by the shortest way.

    What FastAPI does around a route, and to find that a query is empty, takes longer than all the
    rest of the way to the use case and back. Middleware of the app's own doesn't see these
    requests; what every request needs wraps `Direct` too, as `Observed` does in `service.app`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._route = router.routes[0]

    @staticmethod
    def takes(scope: Scope) -> bool:
        """Whether a request may come this way."""
        return (
            scope["type"] == "http"
            and scope["path"] == "/classify"
            and scope["method"] == "POST"
            and not scope["query_string"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route
        request = Request(scope, receive, send)
        try:
            response = await classify(request, self._service, Question())
        except (ServiceError, ImageError, ClientDisconnect) as error:
            response = noted(scope, error)
        await response(scope, receive, send)


async def _answer(
    service: Service,
    generation: Generation,
    question: Question,
    body: bytes,
    content_type: str,
    started: float,
) -> Response:
    settings = service.settings
    limits = settings.max_image_bytes, settings.max_images
    if bodies.is_raw(content_type):  # nothing to take apart
        images = images_in(body, content_type, *limits)
    else:
        images = await asyncio.get_running_loop().run_in_executor(
            service.workers, images_in, body, content_type, *limits
        )
    field = await service.classify.field(generation, question)
    results: Sequence[Result]
    if images.several:
        results = await service.classify.many(generation, field, images, question)
    else:
        image = images[0]
        assert isinstance(image, bytes)  # its error would have been raised
        results = [await service.classify.one(generation, field, image, question)]

    def write() -> Response:
        if images.several:
            # One by one: a thread that writes JSON keeps all others from running Python.
            parts = [orjson.Fragment(quick_json(result_of(result))) for result in results]
            content: dict[str, Any] = {"results": parts}
        else:
            content = result_of(results[0])
        return answered(content, results, generation, field.table.revision, started)

    return await written(service.workers, results, write)


async def written(
    workers: Executor, results: Sequence[Result], write: Callable[[], Response]
) -> Response:
    """The answer that `write` makes of results; in another thread, if it is large."""
    answers = (result for result in results if isinstance(result, Answer))
    if sum(len(item.predictions) for item in answers) <= _LARGE:
        return write()
    return await asyncio.get_running_loop().run_in_executor(workers, write)


def answered(
    content: dict[str, Any],
    results: Sequence[Result],
    generation: Generation,
    revision: int,
    started: float,
) -> Response:
    """A whole answer: `content` with what every answer says of where it comes from."""
    answers = [result for result in results if isinstance(result, Answer)]
    content["bundle"] = generation.bundle.name
    content["revision"] = revision
    content["timings_ms"] = {
        "decode": _milliseconds(max((item.decode_s for item in answers), default=0)),
        "inference": _milliseconds(max((item.inference_s for item in answers), default=0)),
        "score": _milliseconds(max((item.score_s for item in answers), default=0)),
        "total": _milliseconds(time.perf_counter() - started),
    }
    # Scores are finite: `scoring.softmax` and `top_k` refuse others.
    return quick_answer(content)


def result_of(result: Result) -> dict[str, Any]:
    """What an answer says of one image."""
    if not isinstance(result, Answer):
        return {"problem": problem_of(result)}
    predictions = [
        {
            "class_id": item.class_id,
            "name": item.name,
            "score": item.score,
            "probability": item.probability,
            "seen": item.seen,
        }
        for item in result.predictions
    ]
    attributes = [{"name": name, "score": score} for name, score in result.attributes]
    content: dict[str, Any] = {
        "predictions": predictions,
        "known": result.known,
        "attributes": attributes,
    }
    if result.window is not None:
        content |= {"looks": 2, "window": result.window}
    return content


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
