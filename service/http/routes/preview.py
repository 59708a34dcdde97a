"""`POST /preview`."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.errors import BodyTooLarge, RequestError
from service.http import faults
from service.http.deps import QuestionDep, ServiceDep, admitted
from service.http.drafts import NewClassBody, draft_of
from service.http.forms import check_form, fields
from service.http.openapi import documented, reference
from service.http.routes.classify import answered, result_of, written
from service.http.schemas import Preview
from service.usecases.checking import Draft

router = APIRouter(tags=["classes"])

_FIELDS = {"image": 1, "class": 1}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": list(_FIELDS),
                "properties": {
                    "image": {"type": "string", "format": "binary"},
                    "class": reference(NewClassBody.__name__),
                },
            },
            "encoding": {"class": {"contentType": "application/json"}},
        }
    },
}


@router.post(
    "/preview",
    response_model=Preview,
    summary="Preview a class",
    responses=documented(
        faults.PREVIEWED,
        faults.BOX,
        faults.UNKNOWN_CLASS,
        faults.BUNDLE_CLASS,
        faults.NO_CANDIDATES,
        faults.REVISION,
        faults.STORE,
    ),
    openapi_extra={"requestBody": _BODY},
)
async def preview(request: Request, service: ServiceDep, question: QuestionDep) -> Response:
    """How would an image be classified if a class were registered? Nothing is stored.

    The form's `class` is what `POST /classes` takes for one class, as JSON. The answer is that of
    `POST /classify`, and what it says of the draft has `"draft": true`. A draft with the
    `class_id` of a registered class stands in its place; with `classes` it is always among the
    candidates, and it is never a seen one.

        curl -F image=@photo.jpg \\
             -F 'class={"name": "Heron", "attributes": {"has_bill_shape": "dagger"}}' \\
             http://127.0.0.1:8000/preview
    """
    started = time.perf_counter()
    settings = service.settings
    generation = service.admitting()
    content_type = request.headers.get("content-type", "")
    check_form(content_type, _FIELDS)
    async with admitted(request, service, settings.max_body_bytes) as body:
        image, draft = await asyncio.get_running_loop().run_in_executor(
            service.workers, _parts, body, content_type, settings.max_image_bytes
        )
        found = await service.previews.preview(generation, draft, image, question)

        def write() -> Response:
            content: dict[str, Any] = result_of(found.answer)
            for item in content["predictions"]:
                if item["class_id"] == found.class_id:
                    item["draft"] = True
            return answered(content, [found.answer], generation, found.revision, started)

        return await written(service.workers, [found.answer], write)


def _parts(body: bytes, content_type: str, max_image_bytes: int) -> tuple[bytes, Draft]:
    """Raises: RequestError, 422 `image_missing`, `class_missing`; BodyTooLarge."""
    found = fields(body, content_type, _FIELDS)
    if not found["image"] or not found["image"][0]:
        raise RequestError(422, "image_missing", "the form has no field `image` with an image")
    if not found["class"]:
        raise RequestError(
            422, "class_missing", "the form has no field `class`: what POST /classes takes, as JSON"
        )
    image = found["image"][0]
    if len(image) > max_image_bytes:
        raise BodyTooLarge(f"the image has {len(image)} bytes; {max_image_bytes} are allowed")
    return image, draft_of(found["class"][0])
