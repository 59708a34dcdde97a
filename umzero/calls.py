"""What the clients ask a server, and what they make of its answers: no input or output here."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image

from model.preprocess import Box
from model.runtime.base import U8

Photograph = bytes | str | Path | Image.Image | U8
Sheet = Sequence[float] | Mapping[str, float | str | Sequence[str]]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prediction:
    class_id: str
    name: str
    score: float
    probability: float
    seen: bool


@dataclass(frozen=True)
class Classification:
    """The answer for one image; `attributes` are the strongest, on the sheet's scale."""

    predictions: list[Prediction]
    attributes: dict[str, float]
    bundle: str
    revision: int
    timings_ms: dict[str, float]

    @property
    def best(self) -> Prediction:
        return self.predictions[0]


@dataclass(frozen=True)
class RegisteredClass:
    """A class as a list shows it. `warnings`: classes that it can hardly be told from."""

    class_id: str
    name: str
    seen: bool
    given: int
    filled: int
    revision: int
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Explanation:
    """`base` + the sum of the contributions = `logit`."""

    class_id: str
    name: str
    logit: float
    base: float
    contributions: dict[str, float]  # the largest first
    image: dict[str, float]
    sheet: dict[str, float]


@dataclass(frozen=True)
class Description:
    """A suggested sheet: means over the images, and standard deviations."""

    attributes: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and how its answer is read.

    `repeatable`: it may be sent again although it may have arrived.
    """

    method: str
    path: str
    read: Callable[[Any], Result]
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    files: Sequence[tuple[str, tuple[str, bytes]]] | None = None
    repeatable: bool = True


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
) -> Call[Classification]:
    params: dict[str, str | int | float] = {"top_k": top_k, "scope": scope, "look": look}
    if classes is not None:
        params["classes"] = ",".join(classes)
    if gamma is not None:
        params["gamma"] = gamma
    if min_revision:
        params["min_revision"] = min_revision
    params |= _box(box)
    return Call("POST", "/classify", _classification, params, content=encoded(image))


def explain(image: Photograph, class_id: str, box: Box | None = None) -> Call[Explanation]:
    params: dict[str, str | int | float] = {"class_id": class_id, **_box(box)}
    return Call("POST", "/explain", _explanation, params, content=encoded(image))


def picture(
    image: Photograph, class_id: str, attribute: str | None = None, box: Box | None = None
) -> Call[bytes]:
    params: dict[str, str | int | float] = {"class_id": class_id, **_box(box)}
    if attribute is not None:
        params["attribute"] = attribute
    return Call("POST", "/explain", bytes, params, content=encoded(image))


def describe(images: Sequence[Photograph]) -> Call[Description]:
    files = [("image", (f"{i}", encoded(image))) for i, image in enumerate(images)]
    return Call(
        "POST",
        "/describe",
        lambda answer: Description(answer["attributes"], answer["spread"]),
        files=files,
    )


def register(
    name: str,
    attributes: Sheet,
    class_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Call[RegisteredClass]:
    body = _draft(name, attributes, metadata)
    if class_id is not None:
        body["class_id"] = class_id

    def read(answer: Any) -> RegisteredClass:
        return _registered(answer["classes"][0], answer.get("warnings", ()))

    return Call("POST", "/classes", read, json=body, repeatable=False)


def replace(
    class_id: str, name: str, attributes: Sheet, metadata: Mapping[str, Any] | None = None
) -> Call[RegisteredClass]:
    body = _draft(name, attributes, metadata)
    return Call(
        "PUT",
        f"/classes/{class_id}",
        lambda answer: _registered(answer, answer.get("warnings", ())),
        json=body,
    )


def remove(class_id: str) -> Call[int]:
    """The revision that lacks it."""
    return Call(
        "DELETE", f"/classes/{class_id}", lambda answer: int(answer["revision"]), repeatable=False
    )


def page(after: str | None, limit: int = 1000) -> Call[tuple[list[RegisteredClass], str | None]]:
    """Some classes, and what to ask for next."""
    params: dict[str, str | int | float] = {"limit": limit}
    if after is not None:
        params["after"] = after
    return Call(
        "GET",
        "/classes",
        lambda answer: ([_registered(item, ()) for item in answer["classes"]], answer["next"]),
        params,
    )


def encoded(image: Photograph) -> bytes:
    """An image file's bytes; pictures in memory become PNG."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _box(box: Box | None) -> dict[str, str | int | float]:
    return {} if box is None else {"box": ",".join(f"{value:g}" for value in box)}


def _draft(name: str, attributes: Sheet, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(attributes, Mapping):
        sheet: Any = dict(attributes)
    else:
        sheet = [float(value) for value in attributes]
    body: dict[str, Any] = {"name": name, "attributes": sheet}
    return body if metadata is None else {**body, "metadata": dict(metadata)}


def _classification(answer: Any) -> Classification:
    return Classification(
        [Prediction(**item) for item in answer["predictions"]],
        {item["name"]: item["score"] for item in answer["attributes"]},
        answer["bundle"],
        answer["revision"],
        answer["timings_ms"],
    )


def _explanation(answer: Any) -> Explanation:
    item = answer["explanations"][0]
    parts = item["contributions"]
    contributions, image, sheet = (
        {part["name"]: part[key] for part in parts} for key in ("contribution", "image", "sheet")
    )
    return Explanation(
        item["class_id"], item["name"], item["logit"], item["base"], contributions, image, sheet
    )


def _registered(item: Any, warnings: Sequence[Any]) -> RegisteredClass:
    kept = ("class_id", "name", "seen", "given", "filled", "revision")
    return RegisteredClass(
        **{key: item[key] for key in kept}, warnings=[warning["detail"] for warning in warnings]
    )
