"""What routes ask for: the service, the question in a query, an answer's bytes."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query, Request
from starlette.responses import Response

from model.preprocess import Box
from service.errors import ClientGone, DeadlinePassed, RequestError
from service.http import bodies
from service.http.images import Images, images_in
from service.lifecycle import Service
from service.registry.records import CLASS_ID, DEFAULT_COLLECTION
from service.settings import Settings
from service.usecases.classify import Question
from service.usecases.ranking import Scope

# Far beyond any score, and far from float32's end.
_GAMMA_LIMIT = 1e6
_JSON = "application/json"
_REVISION_LIMIT = 2**63 - 1
_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?"
_SIZE = r"([1-9][0-9]{0,8}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9])"


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def image_box(
    box: Annotated[
        str | None,
        Query(
            description="x,y,w,h in pixels of the upright original",
            # Said only: what doesn't fit has a code of its own.
            json_schema_extra={"pattern": f"^-?{_NUMBER},-?{_NUMBER},{_SIZE},{_SIZE}$"},
        ),
    ] = None,
) -> Box | None:
    """Raises: RequestError, 422 `box_invalid`."""
    return None if box is None else _box(box)


CollectionQuery = Annotated[
    str,
    Query(
        pattern=f"^{CLASS_ID.pattern}$",
        description="whose classes are meant: those registered in it, and the bundle's own",
    ),
]


async def _question(
    collection: CollectionQuery = DEFAULT_COLLECTION,
    top_k: Annotated[int, Query(ge=1, description="predictions, at most")] = 5,
    classes: Annotated[
        str | None, Query(description="candidate ids, separated by commas; all when absent")
    ] = None,
    scope: Annotated[Scope, Query(description="which classes are candidates")] = "all",
    gamma: Annotated[
        float | None,
        Query(
            ge=-_GAMMA_LIMIT,
            le=_GAMMA_LIMIT,
            allow_inf_nan=False,
            description="taken from the scores of seen classes; the bundle's when absent",
        ),
    ] = None,
    min_revision: Annotated[
        int, Query(ge=0, le=_REVISION_LIMIT, description="the registry's revision, at least")
    ] = 0,
    box: Annotated[Box | None, Depends(image_box)] = None,
    known_threshold: Annotated[
        float | None,
        Query(
            ge=-_GAMMA_LIMIT,
            le=_GAMMA_LIMIT,
            allow_inf_nan=False,
            description="the score, gamma taken off, below which the best candidate is not known; "
            "the bundle's when absent",
        ),
    ] = None,
    look: Annotated[
        int,
        Query(ge=1, le=2, description="2: look again at where the first look found the object"),
    ] = 1,
) -> Question:
    return Question(
        collection=collection,
        top_k=top_k,
        class_ids=None if classes is None else listed(classes),
        scope=scope,
        gamma=gamma,
        min_revision=min_revision,
        box=box,
        look=look,
        known_threshold=known_threshold,
    )


BoxDep = Annotated[Box | None, Depends(image_box)]
ServiceDep = Annotated[Service, Depends(_service)]
QuestionDep = Annotated[Question, Depends(_question)]


def answer(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON in ASCII: metadata may hold characters that UTF-8 can't carry."""
    return Response(_json(content), status, headers, media_type=_JSON)


def quick_answer(content: Mapping[str, Any]) -> Response:
    """`answer` in a tenth of the time, for content whose numbers are known to be finite."""
    return Response(quick_json(content), media_type=_JSON)


def quick_json(content: Mapping[str, Any]) -> bytes:
    """The body of `quick_answer`."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:  # half of a surrogate pair, in a class's name
        return _json(content)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def largest_body(settings: Settings, content_type: str) -> int:
    """Bytes of a body with images."""
    return settings.max_image_bytes if bodies.is_raw(content_type) else settings.max_body_bytes


@asynccontextmanager
async def admitted(request: Request, service: Service, largest: int) -> AsyncIterator[bytes]:
    """A request's body, and a permit for as long as its client waits and its time lasts.

    Args:
        largest: bytes of the body.

    Raises:
        Overloaded, DeadlinePassed, ClientGone, and what `bodies.read` raises.
    """
    settings = service.settings
    # The permit comes before the body: what can't be served is not read.
    with service.permits.hold():
        body = await bodies.read(request, largest, settings.image_body_timeout_s)
        async with while_connected(request), deadline(settings.request_timeout_s):
            yield body


@asynccontextmanager
async def images_of(request: Request, service: Service, most: int) -> AsyncIterator[Images]:
    """A request's images, at most so many, `admitted`.

    Raises: ServiceError
    """
    settings = service.settings
    content_type = request.headers.get("content-type", "")
    bodies.check_media_type(content_type)
    async with admitted(request, service, largest_body(settings, content_type)) as body:
        yield await asyncio.get_running_loop().run_in_executor(
            service.workers, images_in, body, content_type, settings.max_image_bytes, most
        )


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what runs inside once the client has left; the body must have been read.

    Raises:
        ClientGone: it left.
    """
    task = asyncio.current_task()
    assert task is not None
    is_over = left = False

    def leave(departure: asyncio.Task[None]) -> None:
        nonlocal left
        if not is_over and not departure.cancelled():
            left = True
            task.cancel()

    departure = asyncio.create_task(_departure(request))
    departure.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError as error:
        # Only our own cancellation; the server's goes on.
        if left and task.uncancel() == 0:
            raise ClientGone("the client left before its answer") from error
        raise
    finally:
        is_over = True
        departure.cancel()


@asynccontextmanager
async def deadline(limit_s: float) -> AsyncIterator[None]:
    """Raises: DeadlinePassed, once what runs inside has taken so long."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise DeadlinePassed(f"no answer within {limit_s:g} s; try again") from error


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def listed(ids: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in ids.split(",") if part.strip())


def _box(text: str) -> Box:
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError as error:
        raise RequestError(
            422, "box_invalid", f"box is {text[:100]!r}; expected four numbers x,y,w,h"
        ) from error
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise RequestError(
            422, "box_invalid", f"box is {text[:100]!r}; x and y must be finite, w and h above 0"
        )
    return x, y, w, h
