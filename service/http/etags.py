"""Entity tags of classes, and the conditions that requests state with them (RFC 9110, 13.1)."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_TAGS = re.compile(_TAG)
_REVISION = re.compile(r'"(0|[1-9][0-9]{0,17})"')


def _header(name: str, description: str) -> dict[str, Any]:
    said = {"name": name, "in": "header", "required": False, "description": description}
    return {"parameters": [{**said, "schema": {"type": "string"}}]}


# Lists: a header may come in several lines. OpenAPI has them as the one text that they stand for.
IfMatch = Annotated[list[str] | None, Header(include_in_schema=False)]
IfNoneMatch = Annotated[list[str] | None, Header(include_in_schema=False)]
IF_MATCH = _header("If-Match", "tags that the class may have; with another it is a 412")
IF_NONE_MATCH = _header("If-None-Match", "tags of what the client has; a 304 if it is that")
ETAG = {
    "ETag": {
        "description": "the class's tag, for `If-Match` and `If-None-Match`",
        "schema": {"type": "string"},
    }
}


def tag_of(revision: int) -> str:
    """A strong tag: whatever is said of a registered class changes with its revision."""
    return f'"{revision}"'


def tag_of_own(bundle_sha256: str) -> str:
    """The tag of a class that a bundle brought along: it changes with the bundle alone."""
    return f'"bundle-{bundle_sha256[:16]}"'


def expected(if_match: Sequence[str]) -> frozenset[int] | None:
    """The revisions that `If-Match` allows; None: any. Tags that no class can have allow nothing.

    Args:
        if_match: the header's values, none where it is absent.
    """
    if not if_match or _is_any(if_match):
        return None
    # A weak tag never matches here (RFC 9110, 8.8.3.2).
    found = (_REVISION.fullmatch(tag) for tag in _tags(if_match))
    return frozenset(int(match[1]) for match in found if match)


def is_known(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether `If-None-Match` says that the client has what has this tag."""
    return _is_any(if_none_match) or tag in (t.removeprefix("W/") for t in _tags(if_none_match))


def _is_any(values: Sequence[str]) -> bool:
    return [value.strip() for value in values] == ["*"]


def _tags(values: Sequence[str]) -> list[str]:
    """Of a list that is none, no tag is believed."""
    joined = ",".join(values)
    return _TAGS.findall(joined) if _LIST.fullmatch(joined) else []
