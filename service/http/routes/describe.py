"""`POST /describe`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.http import faults
from service.http.deps import BoxDep, ServiceDep, images_of, quick_answer
from service.http.openapi import documented
from service.http.routes.classify import image_body
from service.http.schemas import SuggestedSheet
from service.usecases import describe as usecase

router = APIRouter(tags=["classes"])


@router.post(
    "/describe",
    summary="Suggest a sheet from images",
    response_model=SuggestedSheet,
    responses=documented(faults.IMAGES, faults.BOX),
    openapi_extra=image_body(),
)
async def describe(request: Request, service: ServiceDep, box: BoxDep) -> Response:
    """Images of one thing -> the sheet that they suggest, to look through and to register.

    `attributes` is the mean of what the images show, on the sheet's scale, in a form that
    `POST /classes` takes; `spread` is the standard deviation over the images, 0 of a single one. A
    large spread says that the images don't agree: such an attribute is worth a look.

        curl -F image=@one.jpg -F image=@two.jpg http://127.0.0.1:8000/describe
    """
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
