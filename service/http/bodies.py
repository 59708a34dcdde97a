"""Request bodies: what they say they are, reading them under a cap and a time limit, JSON."""

import asyncio
import json
from collections import Counter
from typing import Any

from starlette.requests import Request

from service.errors import BodyTimeout, BodyTooLarge, RequestError

# The form type is what curl says of --data-binary unless it is told; no form holds an image.
_RAW_TYPES = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
)
MULTIPART = "multipart/form-data"
_JSON = "application/json"


async def read(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """A whole body.

    Raises:
        BodyTooLarge: at once if Content-Length says so, else as soon as too much has come.
        BodyTimeout: it isn't complete in time.
        RequestError: 415 `unsupported_encoding`: it is compressed.
    """
    check_encoding(request)
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
    if not is_raw(content_type) and media_type(content_type) not in (MULTIPART, _JSON):
        raise RequestError(
            415,
            "unsupported_media_type",
            f"Content-Type {media_type(content_type)[:100]!r} can't hold an image. Send the file "
            "as image/* or application/octet-stream, as the field `image` of multipart/form-data, "
            'or as {"image": "<base64>"} in application/json',
        )


def check_json(content_type: str) -> None:
    """Refuse what says that it is no JSON, before anything is read.

    Raises:
        RequestError: 415 `unsupported_media_type`.
    """
    kind = media_type(content_type)
    if kind not in ("", _JSON) and not kind.endswith("+json"):
        raise RequestError(
            415, "unsupported_media_type", f"Content-Type {kind[:100]!r} isn't {_JSON}"
        )


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
        raise RequestError(400, "json_invalid", f"it isn't JSON: {reason}") from error


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


def check_encoding(request: Request) -> None:
    """Raises: RequestError."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_encoding", "send the body without Content-Encoding")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise RequestError(422, "duplicate_key", f"the key {twice[:100]!r} comes twice")
    return result
