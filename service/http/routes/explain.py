"""`POST /explain`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.engine.generation import Generation
from service.errors import RequestError
from service.http import faults
from service.http.deps import BoxDep, CollectionQuery, ServiceDep, images_of, listed, quick_answer
from service.http.openapi import documented
from service.http.routes.classify import image_body
from service.http.schemas import ExplanationList
from service.registry.records import DEFAULT_COLLECTION
from service.usecases.explain import Explanation, Explanations, position_of

MAX_CLASSES = 10
PNG = "image/png"

router = APIRouter(tags=["classify"])


@router.post(
    "/explain",
    summary="Explain a class's score",
    response_model=ExplanationList,
    responses={
        200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}},
        **documented(
            faults.IMAGES, faults.BOX, faults.EXPLAINED, faults.UNKNOWN_CLASS, faults.STORE
        ),
    },
    openapi_extra=image_body(maxItems=1),
)
async def explain(
    request: Request,
    service: ServiceDep,
    box: BoxDep,
    class_id: Annotated[str | None, Query(description="the class to explain")] = None,
    class_ids: Annotated[
        str | None, Query(description="several, separated by commas, to compare")
    ] = None,
    attribute: Annotated[
        str | None, Query(description="whose map alone is wanted; in a picture, instead of all")
    ] = None,
    collection: CollectionQuery = DEFAULT_COLLECTION,
) -> Response:
    """Why does a class score as it does on one image? Attribute by attribute, the largest first.

    A contribution is what the step from the seen classes' mean to the class's own sheet adds to the
    score, as a Shapley value: `base`, the mean sheet's score, and all contributions add up to
    `logit`, which is the `score` of `POST /classify`. `image` is what the image shows of the
    attribute, `sheet` what the class asks. `maps` say where in the image each attribute was read,
    `heat` where those were read that spoke for the class.

    Name one class by `class_id`, or up to 10 by `class_ids` to compare them. With
    `Accept: image/png` the answer is a picture: the heat of the first class, or the map of
    `attribute`, over the image.

        curl -F image=@photo.jpg 'http://127.0.0.1:8000/explain?class_id=073.Blue_Jay'
    """
    generation = service.admitting()
    asked = _asked(class_id, class_ids)
    if attribute is not None:
        position_of(generation, attribute)
    async with images_of(request, service, 1) as images:
        image = images[0]
        if not isinstance(image, bytes):  # in a list of one
            raise image
        found = await service.explain.explain(generation, collection, image, asked, box)
        if PNG not in request.headers.get("accept", ""):
            return quick_answer(_content(generation, found, attribute))
        largest = service.settings.max_image_pixels
        picture = await service.explain.picture(generation, image, found, attribute, box, largest)
        return Response(picture, media_type=PNG)


def _asked(class_id: str | None, class_ids: str | None) -> tuple[str, ...]:
    """Raises: RequestError, 422 `class_missing`, `too_many_classes`."""
    ids = tuple(dict.fromkeys((*([class_id] if class_id else []), *listed(class_ids or ""))))
    if not ids:
        raise RequestError(
            422, "class_missing", "say which class to explain: class_id=..., or class_ids=a,b"
        )
    if len(ids) > MAX_CLASSES:
        raise RequestError(
            422, "too_many_classes", f"got {len(ids)} classes; {MAX_CLASSES} are explained at once"
        )
    return ids


def _content(generation: Generation, found: Explanations, attribute: str | None) -> dict[str, Any]:
    space = generation.space
    wanted = range(len(found.maps))
    if attribute is not None:
        token = space.tokens[position_of(generation, attribute)]
        wanted = range(token, token + 1)
    read_by: dict[int, list[str]] = {token: [] for token in wanted}
    for name, token in zip(space.names, space.tokens, strict=True):
        if token in read_by:
            read_by[token].append(name)
    return {
        "explanations": [_explanation(item) for item in found.classes],
        "maps": [
            {"attributes": names, "map": found.maps[token].tolist()}
            for token, names in read_by.items()
        ],
        "bundle": generation.bundle.name,
    }


def _explanation(item: Explanation) -> dict[str, Any]:
    return {
        "class_id": item.class_id,
        "name": item.name,
        "logit": item.logit,
        "base": item.base,
        "contributions": [
            {
                "name": part.name,
                "contribution": part.contribution,
                "image": part.image,
                "sheet": part.sheet,
            }
            for part in item.contributions
        ],
        "heat": item.heat.tolist(),
    }
