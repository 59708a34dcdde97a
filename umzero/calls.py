"""What the clients ask a server: no input or output here; `results` reads the answers."""

import base64
import io
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import numpy as np
from PIL import Image

from model.preprocess import Box
from model.runtime.base import U8
from umzero import results
from umzero.errors import unsendable
from umzero.results import (
    Attribute,
    Classification,
    Description,
    Explanation,
    FullClass,
    Neighbour,
    RegisteredClass,
)

Photograph = bytes | str | Path | Image.Image | U8
Sheet = Sequence[float] | Mapping[str, float | str | Sequence[str]]
Parameters = dict[str, str | int | float]

Result = TypeVar("Result")

_JSON = "application/json"

_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@dataclass(frozen=True)
class NewClass:
    """A class to register.

    Attributes:
        attributes: its sheet: numbers, `{name: number}` or `{group: value}`, whole or partial.
        class_id: the server makes one where it is left out.
        like: the id of a class to start from; `attributes` then name what differs.
        examples: photographs of it, up to 16.
    """

    name: str
    attributes: Sheet | None = None
    class_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    like: str | None = None
    examples: Sequence[Photograph] = ()


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and how its answer is read.

    Attributes:
        repeatable: it may be sent again although it may have arrived.
        key: by which the server knows it again.
    """

    method: str
    path: str
    read: Callable[[Any], Result]
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str | None = None
    files: Sequence[tuple[str, tuple[str, bytes]]] | None = None
    repeatable: bool = True
    key: str | None = None


def classify(
    image: Photograph,
    top_k: int = 5,
    *,
    classes: Sequence[str] | None = None,
    scope: str = "all",
    gamma: float | None = None,
    box: Box | None = None,
    look: int = 1,
    min_revision: int = 0,
    known_threshold: float | None = None,
) -> Call[Classification]:
    params: Parameters = {"top_k": top_k, "scope": scope, "look": look}
    if classes is not None:
        params["classes"] = ",".join(classes)
    if gamma is not None:
        params["gamma"] = gamma
    if min_revision:
        params["min_revision"] = min_revision
    if known_threshold is not None:
        params["known_threshold"] = known_threshold
    params |= _box(box)
    return Call("POST", "/classify", results.classification, params, content=encoded(image))


def explain(image: Photograph, class_id: str, box: Box | None = None) -> Call[Explanation]:
    params: Parameters = {"class_id": class_id, **_box(box)}
    return Call("POST", "/explain", results.explanation, params, content=encoded(image))


def picture(
    image: Photograph, class_id: str, attribute: str | None = None, box: Box | None = None
) -> Call[bytes]:
    params: Parameters = {"class_id": class_id, **_box(box)}
    if attribute is not None:
        params["attribute"] = attribute
    return Call("POST", "/explain", bytes, params, content=encoded(image))


def describe(images: Sequence[Photograph]) -> Call[Description]:
    files = [("image", (f"{i}", encoded(image))) for i, image in enumerate(images)]
    return Call(
        "POST", "/describe", lambda answer: results.picked(Description, answer), files=files
    )


def attributes() -> Call[list[Attribute]]:
    def read(answer: Any) -> list[Attribute]:
        return [results.picked(Attribute, item) for item in answer["attributes"]]

    return Call("GET", "/attributes", read)


def register(new: NewClass) -> Call[RegisteredClass]:
    return Call(
        "POST",
        "/classes",
        lambda answer: results.registered(answer)[0],
        content=_body(new),
        content_type=_JSON,
        key=str(uuid.uuid4()),
    )


def register_many(new: Sequence[NewClass]) -> Call[list[RegisteredClass]]:
    bodies = b", ".join(_body(item, index) for index, item in enumerate(new))
    return Call(
        "POST",
        "/classes",
        results.registered,
        content=b'{"classes": [' + bodies + b"]}",
        content_type=_JSON,
        key=str(uuid.uuid4()),
    )


def replace(class_id: str, new: NewClass) -> Call[RegisteredClass]:
    return Call("PUT", _path(class_id), results.replaced, content=_body(new), content_type=_JSON)


def get(class_id: str) -> Call[FullClass]:
    return Call("GET", _path(class_id), lambda answer: results.picked(FullClass, answer))


def neighbours(class_id: str, limit: int = 10) -> Call[list[Neighbour]]:
    def read(answer: Any) -> list[Neighbour]:
        return [results.picked(Neighbour, item) for item in answer["neighbours"]]

    return Call("GET", f"{_path(class_id)}/neighbours", read, {"limit": limit})


def remove(class_id: str) -> Call[int]:
    """The revision that lacks it."""
    return Call("DELETE", _path(class_id), lambda answer: int(answer["revision"]), repeatable=False)


def page(after: str | None, limit: int = 1000) -> Call[tuple[list[RegisteredClass], str | None]]:
    """Some classes, and what to ask for next."""
    params: Parameters = {"limit": limit}
    if after is not None:
        params["after"] = after
    return Call("GET", "/classes", results.page, params)


def encoded(image: Photograph) -> bytes:
    """An image file's bytes; pictures in memory become PNG or, where it can't hold them, TIFF.

    Raises:
        OSError: a file can't be read, or no file can hold this picture.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    # With its orientation: whoever opens the file turns the picture upright.
    image.save(file, "PNG" if image.mode in _PNG_MODES else "TIFF", exif=image.getexif())
    return file.getvalue()


def _path(class_id: str) -> str:
    return f"/classes/{quote(class_id, safe='')}"


def _box(box: Box | None) -> Parameters:
    return {} if box is None else {"box": ",".join(f"{value:g}" for value in box)}


def _body(new: NewClass, index: int | None = None) -> bytes:
    """A class as the server takes it, without what was not given.

    JSON in ASCII: half of a surrogate pair, which metadata may hold, is none of UTF-8.

    Raises:
        RequestFailed: JSON can't hold it. `index` is which of several it is.
    """
    photographs = [base64.b64encode(encoded(image)).decode("ascii") for image in new.examples]
    try:
        body = {
            "name": new.name,
            "attributes": None if new.attributes is None else _sheet(new.attributes),
            "class_id": new.class_id,
            "metadata": None if new.metadata is None else dict(new.metadata),
            "like": new.like,
            "examples": photographs or None,
        }
        given = {key: value for key, value in body.items() if value is not None}
        return json.dumps(given, allow_nan=False, default=_plain).encode("ascii")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise unsendable(new.name, error, index) from error


def _sheet(attributes: Sheet) -> dict[str, Any] | list[float]:
    if isinstance(attributes, Mapping):
        return dict(attributes)
    return [float(value) for value in attributes]


def _plain(value: object) -> Any:
    """numpy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} is no part of JSON")
