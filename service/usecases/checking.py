"""Checking: a class as a client describes it -> a class that can be written."""

import json
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from model.errors import SheetError
from model.sheets import AttributeSpace, FilledSheet, fill
from service.errors import SheetRefused, UnknownClass
from service.registry.records import CLASS_ID, ClassRecord, NewClass
from service.registry.store import class_exists, name_taken, unknown_class

MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 64  # far below where reading it back could fail
_NAME_LENGTH = 200
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line separators


@dataclass(frozen=True)
class Draft:
    """A class as a client describes it; nothing in it has been checked."""

    name: Any
    attributes: Any
    class_id: Any = None
    metadata: Any = None
    like: Any = None  # the id of a class whose sheet it starts from
    examples: Sequence[bytes] = ()  # image files


def no_class(class_id: str) -> ClassRecord:
    """Raises: UnknownClass, always."""
    raise unknown_class(class_id)


def checked(
    draft: Draft,
    space: AttributeSpace,
    index: int | None = None,
    find: Callable[[str], ClassRecord] = no_class,
) -> NewClass:
    """A class that can be written, without its photographs.

    Args:
        find: id -> a class that is there, for `like`.

    Raises:
        UnknownClass: there is no class that it should be like.
        SheetRefused: `name_invalid`, `class_id_invalid`, `metadata_invalid`, `metadata_too_large`,
            `like_invalid`, or the code of what `model.sheets.fill` found.
    """
    try:
        class_id = str(uuid.uuid4()) if draft.class_id is None else _checked_id(draft.class_id)
        name = _checked_name(draft.name)
        metadata = {} if draft.metadata is None else _checked_metadata(draft.metadata)
        sheet = _sheet(draft, space, find)
    except UnknownClass as error:
        error.index = index
        raise
    except SheetError as error:
        where = "" if index is None else f"classes[{index}]: "
        raise SheetRefused(error.code, where + str(error), index=index) from error
    return NewClass(class_id, name, sheet.values, sheet.given, sheet.filled, metadata)


def _sheet(draft: Draft, space: AttributeSpace, find: Callable[[str], ClassRecord]) -> FilledSheet:
    if draft.like is None:
        return fill(draft.attributes, space)
    if not isinstance(draft.like, str):
        raise SheetError("like_invalid", f"like is a class's id, not {_shown(draft.like)}")
    attributes = {} if draft.attributes is None else draft.attributes
    return fill(attributes, space, find(draft.like).attributes)


def checked_batch(
    drafts: Sequence[Draft],
    space: AttributeSpace,
    find: Callable[[str], ClassRecord] = no_class,
) -> list[NewClass]:
    """Check each, and that no two are the same.

    Raises:
        UnknownClass
        SheetRefused, ClassExists, NameTaken: with the index of the class.
    """
    result = []
    ids: set[str] = set()
    names: set[str] = set()
    for index, draft in enumerate(drafts):
        item = checked(draft, space, index, find)
        if item.class_id in ids:
            raise class_exists(item.class_id, index)
        if item.name in names:
            raise name_taken(item.name, index)
        ids.add(item.class_id)
        names.add(item.name)
        result.append(item)
    return result


def _checked_id(value: Any) -> str:
    if not isinstance(value, str) or not CLASS_ID.fullmatch(value) or value in (".", ".."):
        raise SheetError(
            "class_id_invalid",
            f"class_id {_shown(value)} isn't 1 to 100 characters of A-Z a-z 0-9 . _ -",
        )
    return value


def _checked_name(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _NAME_LENGTH or not value.strip():
        raise SheetError(
            "name_invalid", f"name {_shown(value)} isn't a text of 1 to {_NAME_LENGTH} characters"
        )
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in value):
        raise SheetError("name_invalid", f"name {_shown(value)} has control characters")
    return value


def _checked_metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SheetError("metadata_invalid", "metadata isn't a JSON object")
    if _is_deeper(value, MAX_METADATA_DEPTH):
        raise SheetError(
            "metadata_invalid",
            f"metadata has objects or lists in each other more than {MAX_METADATA_DEPTH} deep",
        )
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise SheetError(
            "metadata_invalid",
            f"metadata can't be kept as JSON ({error}); numbers must be finite",
        ) from error
    if len(text) > MAX_METADATA_BYTES:
        raise SheetError(
            "metadata_too_large",
            f"metadata has {len(text)} bytes as JSON; at most {MAX_METADATA_BYTES} are kept",
        )
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return False
    return True


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    """The objects and lists in one of them."""
    values = value.values() if isinstance(value, dict) else value
    return [inner for inner in values if isinstance(inner, dict | list)]


def _shown(value: Any) -> str:
    return repr(value[:100]) if isinstance(value, str) else f"({type(value).__name__})"
