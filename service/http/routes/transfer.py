"""`POST /import` and `GET /export`: classes as NDJSON, a line a class, however many there are."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from service.engine.generation import Generation
from service.errors import ServiceError
from service.http import faults, lines
from service.http.deps import CollectionQuery, ServiceDep, answer
from service.http.drafts import NewClassBody, draft_of
from service.http.openapi import documented, reference
from service.http.problems import problem_of
from service.http.schemas import Imported
from service.lifecycle import Service
from service.registry.records import DEFAULT_COLLECTION, ClassRecord
from service.usecases.checking import Draft
from service.usecases.import_classes import Report

router = APIRouter(tags=["classes"])

_PAGE = 500
_LINES = {lines.NDJSON: {"schema": reference(NewClassBody.__name__)}}


@router.post(
    "/import",
    summary="Import classes",
    response_model=Imported,
    responses=documented(faults.LINES, faults.STORE),
    openapi_extra={"requestBody": {"content": _LINES}},
)
async def import_classes(
    request: Request,
    service: ServiceDep,
    skip_existing: Annotated[
        bool, Query(description="pass over classes whose id or name is there already")
    ] = False,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """Register the classes of an NDJSON body: each line is what `POST /classes` takes for one.

    Lines are written as they come, some hundred in a transaction, so a body may be of any size. A
    line that can't be used stands among the `problems`, of which the first 1,000 are told, and
    holds no other up. A body that breaks off leaves the lines before it registered: send it again
    with `skip_existing`.

        curl --data-binary @classes.ndjson http://127.0.0.1:8000/import
    """
    settings = service.settings
    generation = service.admitting()
    lines.check_media_type(request.headers.get("content-type", ""))
    report, loop = Report(), asyncio.get_running_loop()
    with service.write_permits.hold():
        try:
            async for batch in lines.batches(
                request, settings.max_body_bytes, settings.sheets_timeout_s
            ):
                drafts = await loop.run_in_executor(service.workers, _drafts, batch)
                await service.importing.batch(
                    generation, collection, drafts, report, skip_existing=skip_existing
                )
        except ServiceError as error:
            error.detail += f". Of the lines before, {report.registered} were registered"
            raise
    return answer(
        {
            "registered": report.registered,
            "skipped": report.skipped,
            "failed": report.failed,
            "problems": [{"line": at, "problem": problem_of(e)} for at, e in report.problems],
            "revision": generation.registry.tables.revision,
        }
    )


@router.get(
    "/export",
    summary="Export the registered classes",
    responses={
        200: {"description": "A class a line.", "content": _LINES},
        **documented(faults.NOT_READY, faults.VALIDATION, faults.STORE),
    },
    response_class=Response,
)
async def export_classes(
    service: ServiceDep, collection: CollectionQuery = DEFAULT_COLLECTION
) -> Response:
    """Every registered class of a collection as NDJSON, whole sheets, as `POST /import` takes them.

    Photographs are left out. What is written meanwhile may be among the lines or not.

        curl http://127.0.0.1:8000/export > classes.ndjson
    """
    generation = service.admitting()
    # Before the answer begins: a database that is away is still a 503.
    first = await generation.collection(collection).page("", _PAGE)
    written = _lines(service, generation, collection, first)
    return StreamingResponse(written, media_type=lines.NDJSON)


def _drafts(batch: list[tuple[int, bytes]]) -> dict[int, Draft | ServiceError]:
    """Each line's class, or what is wrong with it."""
    found: dict[int, Draft | ServiceError] = {}
    for number, line in batch:
        try:
            found[number] = draft_of(line)
        except ServiceError as error:
            found[number] = error
    return found


async def _lines(
    service: Service, generation: Generation, collection: str, page: list[ClassRecord]
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while page:
        yield await loop.run_in_executor(service.workers, _written, generation, page)
        after = page[-1].summary.class_id
        page = await generation.collection(collection).page(after, _PAGE)


def _written(generation: Generation, page: list[ClassRecord]) -> bytes:
    names, own = generation.space.names, generation.registry.own
    # What the bundle's own classes hide could not be registered again.
    return b"".join(_line(names, record) for record in page if not own.hiding(record))


def _line(names: tuple[str, ...], record: ClassRecord) -> bytes:
    content: dict[str, Any] = {
        "class_id": record.summary.class_id,
        "name": record.summary.name,
        "attributes": dict(zip(names, map(float, record.attributes), strict=True)),
    }
    if record.metadata:
        content["metadata"] = dict(record.metadata)
    return json.dumps(content, allow_nan=False).encode("ascii") + b"\n"
