"""NDJSON: a line a class, as `POST /classes` takes it."""

import json
from dataclasses import fields
from typing import Any, BinaryIO

from model.sheets import AttributeSpace
from umzero.calls import NewClass
from umzero.class_files.rows import BadLine, Row, Rows
from umzero.results import FullClass

_TAKEN = ("name", "attributes", "class_id", "metadata")
# What `umzero classes show --json` says beside them.
_PASSED_OVER = {part.name for part in fields(FullClass)} - {*_TAKEN} | {"neighbours"}


def read(file: BinaryIO, _space: AttributeSpace) -> Rows:
    for line, text in enumerate(file, 1):
        if text.strip():
            yield _row(line, text)


def _row(line: int, text: bytes) -> Row | BadLine:
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one of the former
        return BadLine(line, f"is no JSON: {error}; expected an object in one line")
    if not isinstance(item, dict):
        return BadLine(line, f"is {_shown(item)}; expected an object with name and attributes")
    if unknown := sorted(item.keys() - {*_TAKEN, *_PASSED_OVER}):
        return BadLine(line, f"has {unknown[0]!r}; expected {', '.join(_TAKEN)}")
    if missing := [key for key in ("name", "attributes") if key not in item]:
        return BadLine(line, f"has no {missing[0]!r}; expected {', '.join(_TAKEN)}")
    return Row(line, NewClass(**{key: item[key] for key in _TAKEN if key in item}))


def _shown(item: Any) -> str:
    text = json.dumps(item)
    return text if len(text) <= 100 else text[:100] + "…"


class Writer:
    def __init__(self, file: BinaryIO, space: AttributeSpace) -> None:
        self._file, self._names = file, space.names

    def write(self, item: FullClass) -> None:
        content: dict[str, Any] = {
            "class_id": item.class_id,
            "name": item.name,
            "attributes": dict(zip(self._names, item.attributes, strict=True)),
        }
        if item.metadata:
            content["metadata"] = item.metadata
        self._file.write(json.dumps(content).encode("ascii") + b"\n")

    def close(self) -> None:
        """The file stays open."""
        self._file.flush()
