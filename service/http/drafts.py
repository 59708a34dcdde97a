"""Classes that a body describes, as `POST /classes` takes them: their schema, and drafts of it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from model.photographs import LARGEST_COUNT
from service.errors import RequestError
from service.http.bodies import json_object
from service.http.images import base64_image
from service.http.schemas import invalid_body, parsed
from service.usecases.checking import Draft

MAX_CLASSES = 10_000

_SHEET: JsonDict = {
    "description": (
        "A numbers in the order of GET /attributes; or attribute names with numbers; or group "
        "names with the name of a value, or several. It may be partial: what is not named in a "
        "mentioned group is the scale's lower end, groups not mentioned take the seen mean."
    ),
    "anyOf": [
        {"type": "null"},
        {"type": "array", "items": {"type": "number"}},
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": "number"},
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                ]
            },
        },
    ],
}
# No control characters or line separators, and not spaces alone.
_NO_CONTROLS = r"\u0000-\u001F\u007F-\u009F\u2028\u2029"
_NAME: JsonDict = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "pattern": rf"^[^{_NO_CONTROLS}]*[^\s{_NO_CONTROLS}][^{_NO_CONTROLS}]*$",
}
_CLASS_ID: JsonDict = {
    "description": "a UUID when absent",
    "type": ["string", "null"],
    "pattern": "^[A-Za-z0-9._-]{1,100}$",
    "not": {"enum": [".", ".."]},
}
_LIKE: JsonDict = {
    "description": "the id of a class that it is like: `attributes` then name what differs, or are "
    "absent; a number changes its own attribute alone, a choice its group",
    "type": ["string", "null"],
}
_EXAMPLES: JsonDict = {
    "description": "photographs of the class, in base64: the prototype is then of sheet and "
    "photographs. They are kept at the network's input size, and go with the class.",
    "items": {"type": "string", "format": "byte", "contentEncoding": "base64"},
}
_METADATA: JsonDict = {
    "description": "anything to keep with the class, up to 16 KiB as JSON, 64 levels deep",
    "type": ["object", "null"],
}


class NewClassBody(BaseModel):
    """One class. The values are checked by the use case, whose errors have codes of their own."""

    model_config = ConfigDict(
        extra="forbid",
        title="NewClass",
        json_schema_extra={"anyOf": [{"required": ["attributes"]}, {"required": ["like"]}]},
    )

    name: Any = Field(json_schema_extra=_NAME)
    attributes: Any = Field(None, json_schema_extra=_SHEET)
    class_id: Any = Field(None, json_schema_extra=_CLASS_ID)
    metadata: Any = Field(None, json_schema_extra=_METADATA)
    like: Any = Field(None, json_schema_extra=_LIKE)
    examples: list[Any] = Field(
        default_factory=list, max_length=LARGEST_COUNT, json_schema_extra=_EXAMPLES
    )


class NewClassesBody(BaseModel):
    """Several classes, all or none."""

    model_config = ConfigDict(extra="forbid", title="NewClasses")

    classes: list[NewClassBody] = Field(min_length=1, max_length=MAX_CLASSES)


def _one(data: Any) -> NewClassBody:
    item = parsed(NewClassBody, data)
    _check_sheets({"attributes": item})
    return item


def _several(data: Any) -> list[NewClassBody]:
    items = parsed(NewClassesBody, data).classes
    _check_sheets({f"classes.{i}.attributes": item for i, item in enumerate(items)})
    return items


def _check_sheets(items: Mapping[str, NewClassBody]) -> None:
    """A class that is like no other needs a sheet."""
    missing = [
        {"loc": [where], "msg": "Field required, or `like`"}
        for where, item in items.items()
        if item.like is None and "attributes" not in item.model_fields_set
    ]
    if missing:
        raise invalid_body(missing)


def drafts_of(body: bytes) -> tuple[list[Draft], bool]:
    """The classes of a body, and whether it is one class's own object.

    Raises:
        RequestError, ValidationError
    """
    data = json_object(body)
    single = not (isinstance(data, dict) and "classes" in data)
    if single:
        return [_draft(_one(data))], True
    return [_draft(item, index) for index, item in enumerate(_several(data))], False


def draft_of(body: bytes) -> Draft:
    """One class's own object, in JSON. Raises: RequestError, ValidationError."""
    return _draft(_one(json_object(body)))


def _draft(item: NewClassBody, index: int | None = None) -> Draft:
    files = [base64_image(photograph) for photograph in item.examples]
    for place, file in enumerate(files):
        if isinstance(file, RequestError):
            detail = f"examples[{place}]: {file.detail}"
            raise RequestError(file.status, file.code, detail, index=index) from file
    examples = tuple(file for file in files if isinstance(file, bytes))
    return Draft(item.name, item.attributes, item.class_id, item.metadata, item.like, examples)
