"""Attribute sheets: numbers, `{name: value}`, partial, or by group -> complete rows (A,)."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np

from model.errors import SheetError
from model.runtime.base import F32, F64

SEPARATOR = "::"  # between group and value in an attribute's name, as in CUB

_SEE = "See GET /attributes"
_LONGEST = 100  # characters of a client's own words in a message

Choice = str | Sequence[str]
Sheet = Sequence[float] | Mapping[str, float | Choice]


@dataclass(frozen=True, eq=False)
class AttributeSpace:
    """The attributes of a bundle, in the order of a sheet's numbers.

    `mean` is the seen classes' mean sheet; `tokens[a]` the attribute token that reads attribute a.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]  # (A,), the group of each attribute
    tokens: tuple[int, ...]  # (A,)
    minimum: F32  # (A,), the scale's bounds
    maximum: F32  # (A,)
    mean: F32  # (A,)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def index(self) -> dict[str, int]:
        """Attribute name -> position."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def members(self) -> dict[str, dict[str, int]]:
        """Group -> {value name: position}; a value name is what follows `::` in the full name."""
        groups: dict[str, dict[str, int]] = {}
        for i, (name, group) in enumerate(zip(self.names, self.groups, strict=True)):
            groups.setdefault(group, {})[name.removeprefix(group + SEPARATOR)] = i
        return groups


@dataclass(frozen=True, eq=False)
class FilledSheet:
    """A complete sheet; `given` + `filled` = A.

    `given` counts the attributes of every group that was mentioned, `filled` those that took the
    seen classes' mean. Of a sheet with a base, `given` are those that it sets itself.
    """

    values: F64  # (A,), as they were given
    given: int
    filled: int


def fill(sheet: Sheet, space: AttributeSpace, base: F64 | None = None) -> FilledSheet:
    """Complete a sheet.

    Three forms, the last two mixed as one likes:

    - A numbers, in the order of `space.names`;
    - `{"has_size::small": 70}`: an attribute's full name and its number;
    - `{"has_size": "small"}` or `{"has_size": ["small", "medium"]}`: a group and what applies.

    In a group that is mentioned, a choice is the scale's maximum and what is not named its
    minimum. A group that is not mentioned takes `space.mean`.

    Args:
        base: (A,), a sheet that this one tells the differences from. Then a number changes its own
            attribute alone, a choice its group, and all else is the base's.

    Raises:
        SheetError: attribute_count, attribute_range, attribute_not_finite, unknown_attribute,
            attribute_type, attribute_repeated or attribute_empty.
    """
    if isinstance(sheet, Mapping):
        return _fill_by_name(sheet, space, base)
    if isinstance(sheet, np.ndarray):
        sheet = sheet.tolist()
    if not isinstance(sheet, Sequence) or isinstance(sheet, str | bytes | bytearray):
        raise SheetError(
            "attribute_type",
            f"a sheet is a list of {len(space)} numbers or a mapping, not {_kind(sheet)}",
        )
    if len(sheet) != len(space):
        raise SheetError(
            "attribute_count",
            f"got {len(sheet)} attributes; this bundle needs {len(space)}. {_SEE}",
        )
    values = _checked(
        range(len(space)),
        [_number(value, name) for value, name in zip(sheet, space.names, strict=True)],
        space,
    )
    return FilledSheet(values, given=len(space), filled=0)


def _fill_by_name(
    sheet: Mapping[str, float | Choice],
    space: AttributeSpace,
    base: F64 | None,
) -> FilledSheet:
    if not sheet and base is None:
        raise SheetError("attribute_empty", f"the sheet mentions no attribute. {_SEE}")
    numbers: dict[int, float] = {}
    chosen: set[str] = set()
    for key, value in sheet.items():
        entries = _entries(key, value, space)
        if isinstance(value, Sequence):
            chosen.add(key)
        for position, number in entries:
            if position in numbers:
                raise SheetError(
                    "attribute_repeated", f"{space.names[position]!r} is given more than once"
                )
            numbers[position] = number
    if base is None:
        chosen = {space.groups[position] for position in numbers}
        values = space.mean.astype(np.float64).round(6)
    else:
        values = base.copy()
    mentioned = [position for group in chosen for position in space.members[group].values()]
    values[mentioned] = space.minimum[mentioned]
    if numbers:
        values[list(numbers)] = _checked(list(numbers), list(numbers.values()), space)
    given = len({*mentioned, *numbers})
    return FilledSheet(values, given=given, filled=len(space) - given)


def _entries(key: object, value: object, space: AttributeSpace) -> list[tuple[int, float]]:
    """What one entry of a mapping sets: positions and numbers."""
    if not isinstance(key, str):
        raise SheetError("attribute_type", f"an attribute's name is a string, not {_kind(key)}")
    members = space.members.get(key)
    position = space.index.get(key)
    chosen = isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)
    # A group of one may bear its attribute's name: then there is nothing to choose from.
    if position is not None and not (chosen and members and len(members) > 1):
        return [(position, _number(value, key))]
    if members is None:
        raise SheetError(
            "unknown_attribute",
            f"{_shown(key)} is neither an attribute nor a group"
            f"{_suggestion(key, [*space.members, *space.names])}",
        )
    if not chosen:
        raise SheetError(
            "attribute_type",
            f"{key!r} is a group: it takes a value's name or a list of them, not {_kind(value)}",
        )
    choices = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    if not choices:
        raise SheetError("attribute_empty", f"{key!r} names no value; leave it out instead")
    return [
        (position, float(space.maximum[position]))
        for position in (_choice(choice, key, members, space) for choice in choices)
    ]


def _choice(value: object, group: str, members: dict[str, int], space: AttributeSpace) -> int:
    if not isinstance(value, str):
        raise SheetError("attribute_type", f"the values of {group!r} are names, not {_kind(value)}")
    if value in members:
        return members[value]
    position = space.index.get(value)
    if position is not None and space.groups[position] == group:
        return position
    raise SheetError(
        "unknown_attribute", f"{group!r} has no value {_shown(value)}{_suggestion(value, members)}"
    )


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SheetError("attribute_type", f"{name!r} needs a number, not {_kind(value)}")
    try:
        return float(value)
    except OverflowError:
        raise SheetError("attribute_range", f"{name!r} is too large for any scale") from None


def _checked(positions: Sequence[int], numbers: Sequence[float], space: AttributeSpace) -> F64:
    exact = np.asarray(numbers, np.float64)
    if not np.isfinite(exact).all():
        name = space.names[positions[int(np.argmin(np.isfinite(exact)))]]
        raise SheetError("attribute_not_finite", f"{name!r} is NaN or infinite; give a number")
    where = np.asarray(positions)
    # The bounds are float32, so the numbers are compared as such: 0.1 is not above 0.1.
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    outside = (rounded < space.minimum[where]) | (rounded > space.maximum[where])
    if outside.any():
        first = int(np.argmax(outside))
        position = positions[first]
        raise SheetError(
            "attribute_range",
            f"{space.names[position]!r} is {numbers[first]!r}; its scale goes from "
            f"{space.minimum[position]:g} to {space.maximum[position]:g}",
        )
    return np.asarray(exact.clip(space.minimum[where], space.maximum[where]), np.float64)


def _suggestion(word: str, known: Iterable[str]) -> str:
    # difflib takes quadratic time in the word: no suggestion for a word that can't be a typo.
    close = difflib.get_close_matches(word, known, n=3) if len(word) <= _LONGEST else []
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f". {_SEE}"


def _shown(word: str) -> str:
    return repr(word if len(word) <= _LONGEST else word[:_LONGEST] + "…")


def _kind(value: object) -> str:
    names = {bool: "true or false", type(None): "null", str: "a string", float: "a number"}
    names |= {int: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), f"a {type(value).__name__}")
