"""The shapes of requests and answers, as OpenAPI shows them."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ValidationError as InvalidBody

Body = TypeVar("Body", bound=BaseModel)


def parsed(model: type[Body], data: Any) -> Body:
    """A body. Raises: service.errors.ValidationError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_body(error.errors(include_input=False, include_url=False)) from error


def invalid_body(errors: Iterable[Any]) -> InvalidBody:
    """pydantic's errors, without the input that it repeats."""
    listed = [
        {
            "field": ".".join(str(part) for part in error["loc"])[:200],
            "message": str(error["msg"])[:300],
        }
        for error in islice(errors, 20)
    ]
    shown = "; ".join(f"{item['field']}: {item['message']}" for item in listed[:3])
    return InvalidBody(shown, listed)


class SwapBody(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Swap", strict=True)

    bundle: str = Field(
        min_length=1, max_length=1000, description="its folder's name; or `previous`, to go back"
    )


class BundleNames(BaseModel):
    """`bundle` is what the manifest calls it; `folder` is where it lay."""

    bundle: str
    folder: str
    sha256: str


class ServedBundle(BundleNames):
    classes: int
    revision: int
    previous: BundleNames | None


class BundleSwapped(ServedBundle):
    seconds: float


class CollectionSize(BaseModel):
    collection: str
    classes: int  # registered in it


class CollectionList(BaseModel):
    collections: list[CollectionSize]
    revision: int


class Status(BaseModel):
    status: Literal["alive", "ready", "started"]


class Class(BaseModel):
    class_id: str
    name: str
    seen: bool
    origin: Literal["bundle", "registered"]
    given: int
    filled: int
    revision: int
    created_at: str | None
    examples: int  # photographs that it was registered with


class FullClass(Class):
    attributes: list[float]
    metadata: dict[str, Any]


class Lookalike(BaseModel):
    """A class that is nearly the same as another one: images will hardly tell them apart."""

    class_id: str
    like: str
    similarity: float
    detail: str


class Replaced(Class):
    warnings: list[Lookalike] | None = None


class Registered(BaseModel):
    classes: list[Class]
    revision: int
    warnings: list[Lookalike] | None = None


class ClassPage(BaseModel):
    classes: list[Class]
    next: str | None
    revision: int


class Removed(BaseModel):
    class_id: str
    revision: int


class Attribute(BaseModel):
    name: str
    group: str
    min: float
    max: float
    mean: float


class AttributeList(BaseModel):
    count: int
    attributes: list[Attribute]


class PredictedClass(BaseModel):
    class_id: str
    name: str
    score: float
    probability: float
    seen: bool


class AttributeScore(BaseModel):
    name: str
    score: float


class Timings(BaseModel):
    """Milliseconds; for several images decode, inference and score are the longest ones."""

    decode: float
    inference: float
    score: float
    total: float


class Result(BaseModel):
    """`looks` and `window` (x, y, w, h of the second one) only where `look=2` was asked."""

    predictions: list[PredictedClass]
    known: bool | None  # null where the bundle doesn't say from which score on
    attributes: list[AttributeScore]
    looks: int | None = None
    window: tuple[int, int, int, int] | None = None


class SuggestedSheet(BaseModel):
    """On the sheet's scale: means over the images, and standard deviations."""

    attributes: dict[str, float]
    spread: dict[str, float]
    images: int
    bundle: str


class Neighbour(BaseModel):
    """`similarity` is the cosine of both prototypes."""

    class_id: str
    name: str
    seen: bool
    similarity: float


class Neighbours(BaseModel):
    class_id: str
    neighbours: list[Neighbour]
    revision: int


class AttributeContribution(BaseModel):
    """What an attribute adds to the logit; what the image shows and the class's sheet asks."""

    name: str
    contribution: float
    image: float
    sheet: float


class ClassExplanation(BaseModel):
    """`base`, the logit of the seen classes' mean sheet, and the contributions add up to `logit`;
    `heat` is where the attributes were read that spoke for the class."""

    class_id: str
    name: str
    logit: float
    base: float
    contributions: list[AttributeContribution]
    heat: list[list[float]]


class AttributeMap(BaseModel):
    """Where some attributes were read: rows of a grid over the image, adding up to 1."""

    attributes: list[str]
    map: list[list[float]]


class ExplanationList(BaseModel):
    explanations: list[ClassExplanation]
    maps: list[AttributeMap]
    bundle: str


class FieldError(BaseModel):
    """One field or parameter that can't be used."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable, for programs; `detail` is for people.

    `errors` comes with `validation`; `index` says which item of a list is meant.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None
    index: int | None = None


class ImportProblem(BaseModel):
    line: int  # from 1
    problem: Problem


class Imported(BaseModel):
    """`skipped` were there already; `problems` are the first ones."""

    registered: int
    skipped: int
    failed: int
    problems: list[ImportProblem]
    revision: int


class ProblemResult(BaseModel):
    problem: Problem


class Classification(Result):
    """The answer for one image."""

    bundle: str
    revision: int
    timings_ms: Timings


class Classifications(BaseModel):
    """The answer for several images."""

    results: list[Result | ProblemResult]
    bundle: str
    revision: int
    timings_ms: Timings


class PreviewedClass(PredictedClass):
    draft: Literal[True] | None = Field(None, description="it is the one that was sent along")


class Preview(Classification):
    """The answer for one image, with the draft among its classes."""

    predictions: list[PreviewedClass]  # type: ignore[assignment]  # each is a PredictedClass
