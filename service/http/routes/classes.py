"""`/classes`: list, look at, register, replace and remove."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from service.bootstrap import Service
from service.engine.generation import Generation
from service.http import bodies, etags, faults
from service.http.deps import CollectionQuery, ServiceDep, answer
from service.http.drafts import NewClassBody, NewClassesBody, draft_of, drafts_of
from service.http.idempotency import REPLAYED, KeyDep, once_of
from service.http.openapi import documented, reference
from service.http.schemas import (
    ClassPage,
    FullClass,
    Neighbours,
    Registered,
    Removed,
    Replaced,
)
from service.registry.records import DEFAULT_COLLECTION, ClassSummary
from service.usecases.neighbours import lookalikes, neighbours

router = APIRouter(tags=["classes"])

MAX_PAGE = 1000
MAX_NEIGHBOURS = 100

ClassId = Annotated[str, Path(description="1 to 100 of A-Z a-z 0-9 . _ -")]
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


@router.get(
    "/classes",
    summary="List the classes",
    response_model=ClassPage,
    responses=documented(faults.NOT_READY, faults.VALIDATION),
)
async def list_classes(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="classes in a page")] = 100,
    after: Annotated[str | None, Query(description="the last id of the page before")] = None,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """All classes, the bundle's own and the registered ones, in the order of their ids.

    Page by page: send `next` as `after` until it is null.
    """
    table = service.admitting().collection(collection).table
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(service.workers, table.page, after, limit + 1)
    page = found[:limit]
    following = page[-1].class_id if len(found) > limit else None
    return answer(
        {
            "classes": [_shown(item) for item in page],
            "next": following,
            "revision": table.revision,
        }
    )


@router.get(
    "/classes/{class_id}",
    summary="Get a class",
    response_model=FullClass,
    responses={
        200: {"headers": etags.ETAG},
        304: {"description": "The client has it already.", "headers": etags.ETAG},
        **documented(faults.UNKNOWN_CLASS, faults.VALIDATION, faults.NOT_READY, faults.STORE),
    },
    openapi_extra=etags.IF_NONE_MATCH,
)
async def get_class(
    class_id: ClassId,
    service: ServiceDep,
    if_none_match: etags.IfNoneMatch = None,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """One class as the list shows it, with its whole sheet and its metadata.

    `attributes` is one number for each attribute, in the order of `GET /attributes`.
    """
    generation = service.admitting()
    record = await generation.collection(collection).look(class_id)
    summary = record.summary
    tag = etags.tag_of(summary.revision)
    if summary.seen:
        tag = etags.tag_of_own(generation.bundle.sha256)
    if etags.is_known(if_none_match or (), tag):
        return Response(status_code=304, headers={"ETag": tag})
    return answer(
        {
            **_shown(summary),
            "attributes": [float(value) for value in record.attributes],
            "metadata": dict(record.metadata),
        },
        headers={"ETag": tag},
    )


@router.get(
    "/classes/{class_id}/neighbours",
    summary="List a class's neighbours",
    response_model=Neighbours,
    responses=documented(faults.UNKNOWN_CLASS, faults.VALIDATION, faults.NOT_READY),
)
async def get_neighbours(
    class_id: ClassId,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MAX_NEIGHBOURS, description="at most")] = 10,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """The classes that a class will be confused with: its nearest ones.

    `similarity` is the cosine of both prototypes, which an image is compared with: at 1 no image
    can tell the two classes apart.
    """
    table = service.admitting().collection(collection).table
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(service.workers, neighbours, table, class_id, limit)
    return answer(
        {
            "class_id": class_id,
            "neighbours": [
                {
                    "class_id": near.item.class_id,
                    "name": near.item.name,
                    "seen": near.item.seen,
                    "similarity": near.similarity,
                }
                for near in found
            ],
            "revision": table.revision,
        }
    )


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
    listed = [_shown(item) for item in added.classes]
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
    return answer({**_shown(item), "revision": revision, **warnings}, headers=headers)


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


def _shown(item: ClassSummary) -> dict[str, Any]:
    return {
        "class_id": item.class_id,
        "name": item.name,
        "seen": item.seen,
        "origin": item.origin,
        "given": item.given,
        "filled": item.filled,
        "revision": item.revision,
        "created_at": item.created_at,
        "examples": item.examples,
    }


async def _read(request: Request, service: Service) -> bytes:
    bodies.check_json(request.headers.get("content-type", ""))
    settings = service.settings
    return await bodies.read(request, settings.max_body_bytes, settings.sheets_timeout_s)
