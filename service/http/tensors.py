"""The Open Inference Protocol's requests, as JSON and in the binary tensor extension.

Source: Open Inference Protocol, REST, version 2 (kserve/open-inference-protocol); Triton's "Binary
Tensor Data Extension": JSON of `Inference-Header-Content-Length` bytes, then the tensors' bytes in
the order of the inputs that have `binary_data_size`. An element of BYTES is its length, 4 bytes
little-endian, and its bytes.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.runtime.base import U8
from service.errors import BodyTooLarge, RequestError
from service.registry.records import CLASS_ID, DEFAULT_COLLECTION
from service.settings import Settings

INPUT = "image"
DEFAULT_OUTPUTS = ("class_ids", "class_names", "probabilities")
OUTPUTS = (*DEFAULT_OUTPUTS, "embedding")
HEADER = "inference-header-content-length"
LENGTH = struct.Struct("<I")
_WHOLE = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Output:
    """One that was asked for."""

    name: str
    binary: bool


@dataclass(frozen=True, eq=False)
class Request:
    """`images`: files, or pixels (H, W, 3)."""

    request_id: str | None
    images: Sequence[bytes | U8]
    outputs: Sequence[Output]
    top_k: int
    collection: str


def parse(body: bytes, header_length: str | None, settings: Settings) -> Request:
    """A body of `/v2/models/{name}/infer`.

    Raises:
        RequestError: 400, with what was expected; 413 `image_too_large`.
        BodyTooLarge: an image's file has more bytes than are allowed.
    """
    length = len(body) if header_length is None else _whole(header_length, len(body))
    try:
        content = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise _refused("json_invalid", "the request's JSON can't be read") from error
    if not isinstance(content, dict):
        raise _refused("validation", "the request is no JSON object")
    parameters = _object(content, "parameters")
    inputs = _objects(content, "inputs")
    if [item.get("name") for item in inputs] != [INPUT]:
        raise _refused("validation", f"expected one input, called {INPUT!r}")
    images = _images(inputs[0], body[length:], settings.max_images)
    for image in images:
        _check_size(image, settings)
    return Request(
        request_id=_text(content, "id"),
        images=images,
        outputs=_outputs(content, parameters.get("binary_data_output") is True),
        top_k=_top_k(parameters.get("top_k", 5)),
        collection=_collection(parameters.get("collection", DEFAULT_COLLECTION)),
    )


def _whole(text: str, largest: int) -> int:
    if not _WHOLE.fullmatch(text) or int(text) > largest:
        raise _refused("validation", f"{HEADER} is {text[:20]!r}; the body has {largest} bytes")
    return int(text)


def _outputs(content: Mapping[str, Any], binary: bool) -> list[Output]:
    if not content.get("outputs"):
        return [Output(name, binary) for name in DEFAULT_OUTPUTS]
    found: dict[str, Output] = {}
    for item in _objects(content, "outputs"):
        name = item.get("name")
        if name not in OUTPUTS:
            raise _refused("validation", f"there is no such output; expected {', '.join(OUTPUTS)}")
        if name in found:
            raise _refused("validation", f"the output {name!r} is asked for twice")
        wanted = _object(item, "parameters").get("binary_data", binary)
        found[name] = Output(name, wanted is True)
    return list(found.values())


def _collection(value: Any) -> str:
    if not isinstance(value, str) or not CLASS_ID.fullmatch(value):
        expected = "1 to 100 characters of A-Z a-z 0-9 . _ -"
        raise _refused("validation", f"the parameter collection is {expected}")
    return value


def _top_k(value: Any) -> int:
    if not _is_count(value):
        raise _refused("validation", "the parameter top_k is a whole number of at least 1")
    return int(value)


def _is_count(value: Any) -> bool:
    """A whole number above 0; 2.0 is one, as in JSON Schema."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value > 0


def _images(item: Mapping[str, Any], binary: bytes, max_images: int) -> Sequence[bytes | U8]:
    datatype, shape = item.get("datatype"), item.get("shape")
    if not isinstance(shape, list) or not shape or not all(map(_is_count, shape)):
        raise _refused("validation", "an input's shape is a list of whole numbers above 0")
    shape = [int(n) for n in shape]
    size = _object(item, "parameters").get("binary_data_size")
    if size is not None and size != len(binary):
        raise _refused(
            "validation",
            f"binary_data_size is {str(size)[:20]}; {len(binary)} bytes follow the JSON",
        )
    data = item.get("data") if size is None else None
    if size is None and not isinstance(data, list):
        raise _refused("validation", "the input has neither a list `data` nor binary data")
    if datatype == "BYTES" and (len(shape) == 1 or shape[1:] == [1]):
        _check_count(shape[0], max_images)
        images = _elements(binary) if data is None else [_base64(value) for value in _flat(data)]
        if len(images) != shape[0]:
            raise _refused("validation", f"shape says {shape[0]} images, the data {len(images)}")
        return images
    if datatype == "UINT8" and len(shape) in (3, 4) and shape[-1] == 3:
        images_shape = (1, *shape) if len(shape) == 3 else tuple(shape)
        _check_count(images_shape[0], max_images)
        values = _levels(binary if data is None else data)
        if values.size != np.prod(images_shape, dtype=object):
            raise _refused(
                "validation", f"shape {shape} doesn't hold the {values.size} values that came"
            )
        return list(values.reshape(images_shape))
    raise _refused(
        "validation",
        f"{INPUT!r} is BYTES of shape [N] or [N, 1], image files, or UINT8 of shape [N, H, W, 3]",
    )


def _check_count(count: int, max_images: int) -> None:
    if count > max_images:
        raise _refused("too_many_images", f"{count} images; a request takes at most {max_images}")


def _check_size(image: bytes | U8, settings: Settings) -> None:
    if isinstance(image, bytes):
        if len(image) > settings.max_image_bytes:
            raise BodyTooLarge(
                f"the image has {len(image)} bytes; {settings.max_image_bytes} are allowed"
            )
        return
    height, width, _ = image.shape
    if height * width > settings.max_image_pixels:
        raise RequestError(
            413,
            "image_too_large",
            f"the image has {width} x {height} pixels; at most {settings.max_image_pixels} are "
            "allowed",
        )


def _levels(data: bytes | list[Any]) -> U8:
    if isinstance(data, bytes):
        return np.frombuffer(data, np.uint8)
    numbers = _flat(data)
    if not set(map(type, numbers)) <= {int, float}:
        raise _refused("validation", "UINT8 data are numbers")
    outside = _refused("validation", "UINT8 data are whole numbers from 0 to 255")
    try:
        values = np.array(numbers, np.float64)
    except OverflowError as error:
        raise outside from error
    if not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        raise outside
    return values.astype(np.uint8)


def _flat(data: list[Any]) -> list[Any]:
    """Nested lists, row by row."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise _refused("validation", "the data's lists are nested unevenly")
        data = [value for row in data for value in row]
    return data


def _elements(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        if at + LENGTH.size > len(data):
            raise _refused("validation", "BYTES data end inside an element's length")
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data):
            raise _refused("validation", "BYTES data end inside an element")
        found.append(data[at : at + length])
        at += length
    return found


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _refused(
            "base64_invalid", "in JSON an image is a string of base64; or send binary data"
        ) from error


def _object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused("validation", f"{key} is no object")
    return value


def _objects(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _refused("validation", f"{key} is no list of objects")
    return value


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise _refused("validation", f"{key} is no text")
    return value


def _refused(code: str, detail: str) -> RequestError:
    return RequestError(400, code, detail)
