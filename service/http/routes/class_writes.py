"""`/classes`: register, replace and remove."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.engine.generation import Generation
from service.http import bodies, etags, faults
from service.http.deps import CollectionQuery, ServiceDep, answer
from service.http.drafts import NewClassBody, NewClassesBody, draft_of, drafts_of
from service.http.idempotency import REPLAYED, KeyDep, once_of
from service.http.openapi import documented, reference
from service.http.routes.classes import ClassId, shown
from service.http.schemas import (
    Registered,
    Removed,
    Replaced,
)
from service.lifecycle import Service
from service.registry.records import DEFAULT_COLLECTION, ClassSummary
from service.usecases.neighbours import lookalikes

router = APIRouter(tags=["classes"])

_WRITTEN = (
    faults.JSON_BODY,
    faults.SHEET,
    faults.EXAMPLES,
    faults.UNKNOWN_CLASS,
    faults.BUNDLE_CLASS,
    faults.STORE,
)
_OF_THE_FIRST = {"parameters": {"class_id": "$response.body#/classes/0/class_id"}}
_CREATED = {
    "headers": {
        **etags.ETAG,
        "Location": {
            "description": "the class's path, where one was registered by itself",
            "schema": {"type": "string"},
        },
        REPLAYED: {
            "description": "the first answer to this `Idempotency-Key`, once more",
            "schema": {"enum": ["true"]},
        },
    },
    "links": {
        operation: {"operationId": operation, **_OF_THE_FIRST}
        for operation in ("get_class", "get_neighbours", "replace_class", "remove_class")
    },
}


def _body(*models: type[NewClassBody | NewClassesBody]) -> dict[str, Any]:
    references = [reference(model.__name__) for model in models]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/classes",
    status_code=201,
    response_model=Registered,
    summary="Register classes",
    responses={201: _CREATED, **documented(*_WRITTEN, faults.TAKEN, faults.ONCE)},
    openapi_extra=_body(NewClassBody, NewClassesBody),
)
async def register_classes(
    request: Request,
    service: ServiceDep,
    idempotency_key: KeyDep,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """Register a class by its sheet, or several as `{"classes": [...]}`, all or none.

    The next image can be classified as it: nothing is trained. A sheet may be partial: in a group
    that it mentions, what it doesn't name is the scale's lower end; a group that it doesn't mention
    takes the seen classes' mean. `given` and `filled` count both. Without a `class_id` the class
    gets a UUID.

    With `like` the sheet starts from another class's, and `attributes` name what differs. With
    `examples`, photographs of the class, the prototype is of sheet and photographs together, and
    the class pays its share of `gamma`, as a seen one does.

    `warnings` name classes that are nearly the same as another one: images will hardly tell them
    apart. What is wrong with one class of several has its place as `index`.

    With an `Idempotency-Key` a request can be sent again, whatever became of its answer: for a day,
    the second attempt gets the first one's answer, and nothing is registered twice.
    """
    generation = service.admitting()
    with service.write_permits.hold():
        body = await _read(request, service)
        loop = asyncio.get_running_loop()
        drafts, single = await loop.run_in_executor(service.workers, drafts_of, body)
        once = None
        if idempotency_key is not None:
            once = await loop.run_in_executor(service.workers, once_of, idempotency_key, body)
        added = await service.register.add(generation, collection, drafts, single=single, once=once)
    headers = {REPLAYED: "true"} if added.again else {}
    if single:
        headers["Location"] = _path(added.classes[0].class_id, collection)
        headers["ETag"] = etags.tag_of(added.revision)
    warnings = await _warnings(service, generation, collection, added.classes)
    listed = [shown(item) for item in added.classes]
    return answer({"classes": listed, "revision": added.revision, **warnings}, 201, headers)


@router.put(
    "/classes/{class_id}",
    summary="Replace a class",
    response_model=Replaced,
    responses={
        200: {"headers": etags.ETAG},
        **documented(*_WRITTEN, faults.NAME_TAKEN, faults.CLASS_ID_MISMATCH, faults.PRECONDITION),
    },
    openapi_extra={**etags.IF_MATCH, **_body(NewClassBody)},
)
async def replace_class(
    class_id: ClassId,
    request: Request,
    service: ServiceDep,
    if_match: etags.IfMatch = None,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """Put another sheet, name, metadata and photographs in place of a registered class's.

    All of it is replaced: what the body leaves out is not kept. The bundle's own classes can't be.
    With the class's `ETag` as `If-Match`, nothing that someone else wrote meanwhile is overwritten.
    """
    generation = service.admitting()
    with service.write_permits.hold():
        body = await _read(request, service)
        loop = asyncio.get_running_loop()
        draft = await loop.run_in_executor(service.workers, draft_of, body)
        item, revision = await service.register.replace(
            generation, collection, class_id, draft, etags.expected(if_match or ())
        )
    warnings = await _warnings(service, generation, collection, [item])
    headers = {"ETag": etags.tag_of(revision)}
    return answer({**shown(item), "revision": revision, **warnings}, headers=headers)


@router.delete(
    "/classes/{class_id}",
    summary="Remove a class",
    response_model=Removed,
    responses=documented(
        faults.UNKNOWN_CLASS,
        faults.BUNDLE_CLASS,
        faults.PRECONDITION,
        faults.VALIDATION,
        faults.NOT_READY,
        faults.STORE,
    ),
    openapi_extra=etags.IF_MATCH,
)
async def remove_class(
    class_id: ClassId,
    service: ServiceDep,
    if_match: etags.IfMatch = None,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """Remove a registered class; its id and its name are free again.

    `revision` is the registry's first one without it. The bundle's own classes can't be removed.
    With the class's `ETag` as `If-Match`, nothing is removed that someone else has changed.
    """
    revision = await service.register.remove(
        service.admitting(), collection, class_id, etags.expected(if_match or ())
    )
    return answer({"class_id": class_id, "revision": revision})


async def _warnings(
    service: Service, generation: Generation, collection: str, classes: Sequence[ClassSummary]
) -> dict[str, Any]:
    """`warnings` about classes that can hardly be told from others, if there are any."""
    loop = asyncio.get_running_loop()
    ids = [item.class_id for item in classes]
    table = generation.collection(collection).table
    found = await loop.run_in_executor(service.workers, lookalikes, table, ids)
    listed = [
        {
            "class_id": item.class_id,
            "like": item.neighbour.item.class_id,
            "similarity": item.neighbour.similarity,
            "detail": f"it is nearly the same as {item.neighbour.item.name!r}; "
            "images will hardly tell them apart",
        }
        for item in found
    ]
    return {"warnings": listed} if listed else {}


def _path(class_id: str, collection: str) -> str:
    where = "" if collection == DEFAULT_COLLECTION else f"?collection={collection}"
    return f"/classes/{class_id}{where}"


async def _read(request: Request, service: Service) -> bytes:
    bodies.check_json(request.headers.get("content-type", ""))
    settings = service.settings
    return await bodies.read(request, settings.max_body_bytes, settings.sheets_timeout_s)
