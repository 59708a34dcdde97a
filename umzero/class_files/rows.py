"""A line of a file, and the columns of a table of classes."""

import difflib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.sheets import AttributeSpace
from umzero.calls import NewClass
from umzero.errors import InputRefused
from umzero.results import Attribute, FullClass

BETWEEN_CHOICES = "|"  # in a cell of a group's column
OWN_COLUMNS = ("class_id", "name", "metadata")


@dataclass(frozen=True)
class Row:
    """A class that was read; `line` is where it begins, from 1."""

    line: int
    new: NewClass


@dataclass(frozen=True)
class BadLine:
    """What came, and what was expected."""

    line: int
    detail: str


# To be closed before the file that they are read from.
Rows = Generator[Row | BadLine, None, None]


class Columns:
    """What the columns of a table mean.

    Args:
        names: the header; what has no name is passed over.

    Raises:
        InputRefused: a column is missing, there twice, or neither an attribute nor a group.
    """

    def __init__(self, names: Sequence[str], space: AttributeSpace) -> None:
        self.names = list(names)
        self._space = space
        if "name" not in self.names:
            shown = ", ".join(map(repr, self.names[:5]))
            raise InputRefused(
                f"no column is called 'name'; the first line is {shown}. Expected 'name', "
                "'class_id' if you like, and a column for each attribute, separated by commas"
            )
        named = [name for name in self.names if name]
        if doubled := next((name for name in named if named.count(name) > 1), None):
            raise InputRefused(f"two columns are called {doubled!r}; expected one")
        known = {*OWN_COLUMNS, *space.index, *space.members}
        if unknown := [name for name in named if name not in known]:
            close = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            more = f" ({len(unknown) - 1} more columns are unknown)" if len(unknown) > 1 else ""
            raise InputRefused(
                f"column {unknown[0]!r} is neither an attribute nor a group of the server's "
                f"bundle{hint}{more}. `umzero classes export -` writes a first line that fits"
            )

    def row(self, line: int, cells: Mapping[str, Any]) -> Row | BadLine:
        """The class of one line; empty text and None are cells that were left out."""
        try:
            decoded = {name: _decoded(name, value) for name, value in cells.items() if name}
            given = {name: value for name, value in decoded.items() if not _is_empty(value)}
            if "name" not in given:
                return BadLine(line, "the name is empty; expected 1 to 200 characters")
            class_id = _text("class_id", given["class_id"]) if "class_id" in given else None
            name = _text("name", given["name"])
            metadata = _metadata(given.get("metadata"))
            sheet = {
                column: self._value(column, value)
                for column, value in given.items()
                if column not in OWN_COLUMNS
            }
        except ValueError as error:
            return BadLine(line, str(error))
        return Row(line, NewClass(name, sheet, class_id, metadata))

    def _value(self, name: str, value: Any) -> float | list[str]:
        """Raises: ValueError, in words."""
        position = self._space.index.get(name)
        if position is None and isinstance(value, list):
            return [str(choice) for choice in value if choice is not None]
        if position is None:
            choices = [part.strip() for part in str(value).split(BETWEEN_CHOICES)]
            return [choice for choice in choices if choice]
        try:
            return float(value)
        except (ValueError, TypeError):
            low, high = self._space.minimum[position], self._space.maximum[position]
            raise ValueError(
                f"{name!r} is {str(value)[:100]!r}; expected a number from {low:g} to {high:g}, "
                "or nothing"
            ) from None


def _decoded(name: str, value: Any) -> Any:
    """Texts of Parquet may be bytes. Raises: ValueError, in words."""
    if isinstance(value, list):
        return [_decoded(name, part) for part in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{name!r} is {value[:100]!r}; expected text in UTF-8") from None


def _text(name: str, value: Any) -> str:
    """Whole numbers are floats in a table that lacks some. Raises: ValueError, in words."""
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{name!r} is {value}; expected a text or a whole number")
        value = int(value)
    return str(value)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _metadata(value: Any) -> dict[str, Any] | None:
    """JSON as text, or an object of Parquet. Raises: ValueError, in words."""
    if value is None:
        return None
    try:
        found = json.loads(json.dumps(value) if isinstance(value, dict) else value)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"metadata is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"metadata is {str(value)[:100]!r}; expected a JSON object")  # noqa: TRY004
    return found


def header(space: AttributeSpace) -> list[str]:
    """The columns that are written. Raises: InputRefused."""
    if taken := set(OWN_COLUMNS) & set(space.names):
        raise InputRefused(
            f"an attribute is called {min(taken)!r}, as a column of every table is; write NDJSON"
        )
    return [*OWN_COLUMNS, *space.names]


def cells(item: FullClass) -> Iterator[Any]:
    """A line in the order of the header."""
    yield from (item.class_id, item.name, json.dumps(item.metadata) if item.metadata else None)
    yield from item.attributes


def space_of(attributes: Iterable[Attribute]) -> AttributeSpace:
    """What `GET /attributes` says, as `model.sheets.fill` needs it."""
    listed = list(attributes)
    low, high, mean = (
        np.array([getattr(item, key) for item in listed], np.float32)
        for key in ("min", "max", "mean")
    )
    names, groups = (tuple(getattr(item, key) for item in listed) for key in ("name", "group"))
    return AttributeSpace(names, groups, (0,) * len(listed), low, high, mean)
