"""What a server's answers become: typed, and indifferent to members that a newer server adds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Prediction:
    class_id: str
    name: str
    score: float
    probability: float
    seen: bool


@dataclass(frozen=True)
class Classification:
    """The answer for one image; `attributes` are the strongest, on the sheet's scale.

    `known`: whether the image shows any of the classes; None where the bundle can't tell.
    """

    predictions: list[Prediction]
    attributes: dict[str, float]
    bundle: str
    revision: int
    timings_ms: dict[str, float]
    known: bool | None = None

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
    origin: str = ""
    created_at: str | None = None
    examples: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FullClass(RegisteredClass):
    """A class with its sheet (A,), in the order of `Client.attributes`, and its metadata."""

    attributes: list[float] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Neighbour:
    """A class near another one: `similarity` is the cosine of both prototypes."""

    class_id: str
    name: str
    seen: bool
    similarity: float


@dataclass(frozen=True)
class Attribute:
    """One number of a sheet: its scale, and the seen classes' mean."""

    name: str
    group: str
    min: float
    max: float
    mean: float


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


def picked(kind: type[Kind], item: Any, **more: Any) -> Kind:
    """A result from the members of an answer's object that it has a place for."""
    kept = {part.name for part in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in item.items() if key in kept} | more)


def classification(answer: Any) -> Classification:
    return picked(
        Classification,
        answer,
        predictions=[picked(Prediction, item) for item in answer["predictions"]],
        attributes={item["name"]: item["score"] for item in answer["attributes"]},
    )


def explanation(answer: Any) -> Explanation:
    item = answer["explanations"][0]
    parts = item["contributions"]
    contributions, image, sheet = (
        {part["name"]: part[key] for part in parts} for key in ("contribution", "image", "sheet")
    )
    return picked(Explanation, item, contributions=contributions, image=image, sheet=sheet)


def registered(answer: Any) -> list[RegisteredClass]:
    """The classes of a registration, each with its own warnings."""
    told: dict[str, list[str]] = {}
    for warning in answer.get("warnings") or ():
        told.setdefault(warning["class_id"], []).append(warning["detail"])
    return [
        picked(RegisteredClass, item, warnings=told.get(item["class_id"], []))
        for item in answer["classes"]
    ]


def replaced(answer: Any) -> RegisteredClass:
    details = [warning["detail"] for warning in answer.get("warnings") or ()]
    return picked(RegisteredClass, answer, warnings=details)


def page(answer: Any) -> tuple[list[RegisteredClass], str | None]:
    """Some classes, and what to ask for next."""
    listed: Sequence[Any] = answer["classes"]
    return [picked(RegisteredClass, item) for item in listed], answer["next"]
