"""Attribute sheets: numbers, `{name: value}`, partial, or by group -> complete rows (A,)."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.errors import SheetError
from model.runtime.base import F32

SEPARATOR = "::"  # between group and value in an attribute's name, as in CUB

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
    seen classes' mean.
    """

    values: F32  # (A,)
    given: int
    filled: int
