"""`POST /describe`."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.http import bodies
from service.http.deps import BoxDep, ServiceDep, answer, deadline, received, while_connected
from service.http.problems import documented
from service.http.routes.classify import IMAGE_BODY
from service.http.schemas import SuggestedSheet
from service.usecases import describe as usecase

router = APIRouter(tags=["classes"])


@router.post(
    "/describe",
    response_model=SuggestedSheet,
    responses=documented(400, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": IMAGE_BODY},
)
async def describe(request: Request, service: ServiceDep, box: BoxDep) -> Response:
    """The sheet that photographs of one thing suggest: a start for `POST /classes`."""
    settings = service.settings
    generation = service.admitting()
    content_type = request.headers.get("content-type", "")
    bodies.check_media_type(content_type)
    with service.permits.hold():
        body = await received(request, settings, content_type)
        async with while_connected(request), deadline(settings.request_timeout_s):
            images = await asyncio.get_running_loop().run_in_executor(
                service.workers,
                bodies.images,
                body,
                content_type,
                settings.max_image_bytes,
                settings.max_images,
            )
            found = await usecase.describe(generation, images, box)
    names = generation.space.names
    return answer(
        {
            "attributes": dict(zip(names, map(float, found.mean), strict=True)),
            "spread": dict(zip(names, map(float, found.spread), strict=True)),
            "images": len(images),
            "bundle": generation.bundle.name,
        }
    )
