"""The images of a body: the body itself, fields of a form, or base64 in JSON."""

import base64
import binascii
from typing import Any

from service.errors import RequestError
from service.http.bodies import MULTIPART, is_raw, json_value, media_type
from service.http.forms import IMAGE, fields, too_many_images

Image = bytes | RequestError

# Of a body in JSON, beside two an image: before the next one, and in its data URL.
_COMMAS = 1000


class Images(list[Image]):
    """The images of a request; `several`: it asked for a list of results."""

    several = False


def images_in(body: bytes, content_type: str, max_image_bytes: int, max_images: int) -> Images:
    """Take a body of `/classify` apart.

    An image of several that is too large, or no base64, is an error in its place.

    Raises:
        RequestError: the body, or its only image, can't be used.
    """
    if not body:
        raise RequestError(422, "image_empty", "the body is empty; send an image")
    found = Images()
    if is_raw(content_type):
        found.append(body)
    elif media_type(content_type) == MULTIPART:
        found.extend(_form_images(body, content_type, max_images))
        found.several = len(found) > 1
    else:
        # Parsing millions of values would hold every thread up.
        if body.count(b",") > _COMMAS + 2 * max_images:
            raise too_many_images(max_images)
        value = _json_image(body)
        found.several = isinstance(value, list)
        values = value if isinstance(value, list) else [value]
        if len(values) <= max_images:
            found.extend(base64_image(item) for item in values)
    if not found:
        raise too_many_images(max_images)
    for index, image in enumerate(found):
        if isinstance(image, bytes) and len(image) > max_image_bytes:
            found[index] = RequestError(
                413,
                "body_too_large",
                f"the image has {len(image)} bytes; {max_image_bytes} are allowed",
            )
    if not found.several and isinstance(found[0], RequestError):
        raise found[0]
    return found


def _json_image(body: bytes) -> Any:
    data = json_value(body)
    if not isinstance(data, dict) or not data.get(IMAGE):
        raise _missing('expected {"image": "<base64>"}')
    if unknown := sorted(data.keys() - {IMAGE}):
        raise RequestError(
            422,
            "validation",
            f"the body has the unknown key {unknown[0][:100]!r}; everything but `image` "
            "belongs into the query",
        )
    return data[IMAGE]


def base64_image(value: Any) -> Image:
    """An image in JSON; what is wrong with it, in its place."""
    if not isinstance(value, str):
        return RequestError(422, "image_type", "an image in JSON is a string of base64")
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return RequestError(400, "base64_invalid", "the image isn't base64 (RFC 4648, section 4)")


def _form_images(body: bytes, content_type: str, max_images: int) -> list[bytes]:
    found = fields(body, content_type, {IMAGE: max_images})[IMAGE]
    if not found:
        raise _missing("the form has no field `image`")
    return found


def _missing(what: str) -> RequestError:
    return RequestError(422, "image_missing", f"the body holds no image: {what}")
