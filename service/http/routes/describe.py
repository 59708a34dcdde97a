"""`POST /describe`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.http.deps import BoxDep, ServiceDep, images_of, quick_answer
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
    generation = service.admitting()
    async with images_of(request, service, service.settings.max_images) as images:
        found = await usecase.describe(generation, images, box)
    names = generation.space.names
    return quick_answer(
        {
            "attributes": dict(zip(names, map(float, found.mean), strict=True)),
            "spread": dict(zip(names, map(float, found.spread), strict=True)),
            "images": len(images),
            "bundle": generation.bundle.name,
        }
    )
