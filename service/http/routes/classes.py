"""`/classes`: list, and look at."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from service.http import etags, faults
from service.http.deps import CollectionQuery, ServiceDep, answer
from service.http.openapi import documented
from service.http.schemas import (
    ClassPage,
    FullClass,
    Neighbours,
)
from service.registry.records import DEFAULT_COLLECTION, ClassSummary
from service.usecases.neighbours import neighbours

router = APIRouter(tags=["classes"])

MAX_PAGE = 1000
MAX_NEIGHBOURS = 100

ClassId = Annotated[str, Path(description="1 to 100 of A-Z a-z 0-9 . _ -")]


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
            "classes": [shown(item) for item in page],
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
            **shown(summary),
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


def shown(item: ClassSummary) -> dict[str, Any]:
    """A class as every list shows it."""
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
