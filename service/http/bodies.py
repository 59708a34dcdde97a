"""Request bodies: read under a cap and a time limit, then taken apart, off the event loop."""

import asyncio
import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.errors import BodyTimeout, BodyTooLarge, RequestError

# The form type is what curl says of --data-binary unless it is told; no form holds an image.
_RAW_TYPES = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
)
_MULTIPART = "multipart/form-data"
_JSON = "application/json"
_FIELD = "image"

Image = bytes | RequestError


class Images(list[Image]):
    """The images of a request; `several`: it asked for a list of results."""

    several = False


async def read(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """A whole body.

    Raises:
        BodyTooLarge: at once if Content-Length says so, else as soon as too much has come.
        BodyTimeout: it isn't complete in time.
        RequestError: 415 `unsupported_encoding`: it is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_encoding", "send the body without Content-Encoding")
    too_large = BodyTooLarge(f"the body has more than the {max_bytes} bytes that are allowed")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError as error:
        raise BodyTimeout(
            f"the body wasn't complete after {timeout_s:g} s; {len(body)} bytes had come"
        ) from error
    return bytes(body)


def media_type(content_type: str) -> str:
    """The media type alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_raw(content_type: str) -> bool:
    """The body is the image itself."""
    kind = media_type(content_type)
    return kind in _RAW_TYPES or kind.startswith("image/")


def check_media_type(content_type: str) -> None:
    """Refuse what can't hold an image, before anything is read.

    Raises:
        RequestError: 415 `unsupported_media_type`.
    """
    if not is_raw(content_type) and media_type(content_type) not in (_MULTIPART, _JSON):
        raise RequestError(
            415,
            "unsupported_media_type",
            f"Content-Type {media_type(content_type)[:100]!r} can't hold an image. Send the file "
            "as image/* or application/octet-stream, as the field `image` of multipart/form-data, "
            'or as {"image": "<base64>"} in application/json',
        )


def images(body: bytes, content_type: str, max_image_bytes: int, max_images: int) -> Images:
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
    elif media_type(content_type) == _MULTIPART:
        found.extend(_form_images(body, content_type, max_images))
        found.several = len(found) > 1
    else:
        value = _json_image(body)
        found.several = isinstance(value, list)
        values = value if isinstance(value, list) else [value]
        if len(values) <= max_images:
            found.extend(base64_image(item) for item in values)
    if not found:
        raise _too_many(max_images)
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


def check_form(content_type: str, names: Iterable[str]) -> None:
    """Refuse what is no form, before anything is read.

    Raises:
        RequestError: 415 `unsupported_media_type`.
    """
    if media_type(content_type) != _MULTIPART:
        raise RequestError(
            415,
            "unsupported_media_type",
            f"Content-Type {media_type(content_type)[:100]!r} isn't multipart/form-data; send the "
            f"fields {', '.join(names)}",
        )


def fields(body: bytes, content_type: str, most: Mapping[str, int]) -> dict[str, list[bytes]]:
    """Some fields of a form, by name, in the order in which they came; the others are passed over.

    Args:
        most: field -> how often it may come.

    Raises:
        RequestError: 400 `multipart_invalid`, 422 `too_many_images`, `too_many_fields`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _broken_form("its Content-Type names no boundary")
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise _broken_form(str(error)) from error
    if not form.complete:
        raise _broken_form("it ends before its last boundary")
    return {name: [bytes(value) for value in values] for name, values in form.fields.items()}


def json_value(body: bytes) -> Any:
    """Parse JSON strictly: a key that comes twice is an error.

    NaN and Infinity are let through, for the sheet's own check to name them.

    Raises:
        RequestError: 400 `json_invalid`, 422 `duplicate_key`.
    """
    try:
        return json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise RequestError(400, "json_invalid", f"the body isn't JSON: {reason}") from error


def json_object(body: bytes) -> Any:
    """`json_value`, where only an object will do.

    Raises:
        RequestError: also 422 `validation`: it is a list or a string.
    """
    # Looked at before it is parsed: a list of millions of nothings would hold every thread up.
    first = body[:64].lstrip(b" \t\r\n")[:1]
    if first in (b"[", b'"'):
        raise RequestError(422, "validation", "the body is JSON, but no object: expected {...}")
    return json_value(body)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise RequestError(422, "duplicate_key", f"the key {twice[:100]!r} comes twice")
    return result


def _json_image(body: bytes) -> Any:
    data = json_value(body)
    if not isinstance(data, dict) or not data.get(_FIELD):
        raise _missing('expected {"image": "<base64>"}')
    if unknown := sorted(data.keys() - {_FIELD}):
        raise RequestError(
            422,
            "validation",
            f"the body has the unknown key {unknown[0][:100]!r}; everything but `image` "
            "belongs into the query",
        )
    return data[_FIELD]


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
    found = fields(body, content_type, {_FIELD: max_images})[_FIELD]
    if not found:
        raise _missing("the form has no field `image`")
    return found


class _Form:
    """Collects the fields that are asked for, each so often at most."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self.fields: dict[str, list[bytearray]] = {name: [] for name in most}
        self.complete = False
        self._most = {name.encode(): (name, count) for name, count in most.items()}
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._part: bytearray | None = None  # None: of a field that nobody asked for

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        self._disposition = b""
        self._part = None

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        asked = self._most.get(options.get(b"name", b""))
        if asked is not None:
            name, most = asked
            if len(self.fields[name]) == most:
                raise _too_many(most) if name == _FIELD else _too_often(name, most)
            self._part = bytearray()
            self.fields[name].append(self._part)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part += data[start:end]

    def _on_end(self) -> None:
        self.complete = True


def _missing(what: str) -> RequestError:
    return RequestError(422, "image_missing", f"the body holds no image: {what}")


def _broken_form(why: str) -> RequestError:
    return RequestError(400, "multipart_invalid", f"the form can't be read: {why}")


def _too_many(max_images: int) -> RequestError:
    return RequestError(422, "too_many_images", f"a request takes at most {max_images} images")


def _too_often(name: str, most: int) -> RequestError:
    return RequestError(422, "too_many_fields", f"the form has more than {most} fields `{name}`")
