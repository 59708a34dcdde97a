"""`Rows`: the memory that snapshots share. Rows are appended, and never changed."""

import threading
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32
from service.registry.records import ClassSummary

LEAST_CAPACITY = 4096
_FEW = 32


class Rows:
    """Classes and their prototypes, in one piece of memory, for ranking is one product over it.

    A snapshot looks at the first rows of it, so many as there were when it was taken. A class that
    is written again gets another row: `rows_of` tells all rows that an id ever had.

    Any thread may read while one appends.

    Args:
        dim: D.
        length: of what comes first; there is room for more.
    """

    def __init__(self, dim: int, length: int) -> None:
        capacity = _capacity(length)
        self.prototypes: F32 = np.empty((capacity, dim), np.float32)
        self.is_seen: NDArray[np.bool_] = np.empty(capacity, np.bool_)
        self.familiarity: F32 = np.empty(capacity, np.float32)
        self.classes: list[ClassSummary] = []
        self._rows_of: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self._ordered = _Ordered()

    def rows_of(self, class_id: str) -> tuple[int, ...]:
        """All rows that an id ever had, the newest last."""
        return self._rows_of.get(class_id, ())

    def append(self, length: int, classes: Sequence[ClassSummary], prototypes: F32) -> bool:
        """Add classes behind the first `length`; False if others lie there already.

        Args:
            prototypes: (len(classes), D).

        Raises:
            ValueError: prototypes of another shape; nothing was added.
        """
        expected = (len(classes), self.prototypes.shape[1])
        if prototypes.shape != expected:
            raise ValueError(f"prototypes have shape {prototypes.shape}; expected {expected}")
        with self._lock:
            if len(self.classes) != length:
                return False
            end = length + len(classes)
            if end > len(self.prototypes):
                self._grow(end)
            self.prototypes[length:end] = prototypes
            self.is_seen[length:end] = [item.seen for item in classes]
            self.familiarity[length:end] = [item.familiarity for item in classes]
            for row, item in enumerate(classes, length):
                before = self._rows_of.get(item.class_id, ())
                if not before:
                    self._ordered.add(item.class_id)
                self._rows_of[item.class_id] = (*before, row)
            self.classes.extend(classes)
            return True

    def ids_after(self, class_id: str | None, count: int) -> Iterator[list[str]]:
        """Ids behind one in their order, those of later snapshots too, `count` at a time."""
        while found := self._ordered.after(class_id, count):
            yield found
            class_id = found[-1]

    def _grow(self, length: int) -> None:
        """Move into more memory; older snapshots keep what they look at."""
        capacity, filled = _capacity(length), len(self.classes)

        def moved(values: NDArray[Any]) -> NDArray[Any]:
            larger = np.empty((capacity, *values.shape[1:]), values.dtype)
            larger[:filled] = values[:filled]
            return larger

        self.prototypes = moved(self.prototypes)
        self.is_seen = moved(self.is_seen)
        self.familiarity = moved(self.familiarity)


def _capacity(length: int) -> int:
    """Half as much again: while rows are appended one by one, each is moved twice on average.
    Memory that nobody has written to costs nothing."""
    return max(LEAST_CAPACITY, length + length // 2)


class _Ordered:
    """Ids in their order; they are put in place when someone asks, not when one is added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._new: list[str] = []

    def add(self, class_id: str) -> None:
        with self._lock:
            self._new.append(class_id)

    def after(self, class_id: str | None, count: int) -> list[str]:
        with self._lock:
            if len(self._new) > _FEW:
                self._ids += self._new
                self._ids.sort()
            else:
                for new in self._new:
                    insort(self._ids, new)
            self._new = []
            first = 0 if class_id is None else bisect_right(self._ids, class_id)
            return self._ids[first : first + count]
