"""What routes ask for: the service, the question in a query, an answer's bytes."""

import asyncio
import json
import math
from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from starlette.responses import Response

from service.bootstrap import Service
from service.errors import ClientGone, RequestError
from service.usecases.classify import Question, Scope

# Far beyond any score, and far from float32's end.
_GAMMA_LIMIT = 1e6
_REVISION_LIMIT = 2**63 - 1

Result = TypeVar("Result")


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _question(
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
    box: Annotated[
        str | None, Query(description="x,y,w,h in pixels of the upright original")
    ] = None,
) -> Question:
    return Question(
        top_k=top_k,
        class_ids=None if classes is None else _listed(classes),
        scope=scope,
        gamma=gamma,
        min_revision=min_revision,
        box=None if box is None else _box(box),
    )


ServiceDep = Annotated[Service, Depends(_service)]
QuestionDep = Annotated[Question, Depends(_question)]


def answer(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON in ASCII: metadata may hold characters that UTF-8 can't carry."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, headers, media_type="application/json")


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work for as long as the client waits for it; the body must have been read.

    Raises:
        ClientGone: the client left; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    departure = asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client left before its answer")
        return task.result()
    finally:
        task.cancel()
        departure.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _listed(classes: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in classes.split(",") if part.strip())


def _box(text: str) -> tuple[float, float, float, float]:
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
