"""`PrototypeTable`: an immutable snapshot of all classes; snapshots share their rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32
from service.registry.records import ClassSummary
from service.registry.rows import Rows

# Idle rows are scored in vain. At more than one in so many, the others move together.
IDLE_SHARE = 8


@dataclass(frozen=True, eq=False)
class PrototypeTable:
    """All classes at one revision, in the order of their last writes.

    Positions go from 0 to C - 1 and belong to one snapshot: a removal moves those behind it.

    What a write costs follows what is written, not C: a new class is appended to rows that
    snapshots share, and one that is replaced or removed leaves its row idle.
    """

    revision: int = 0
    _shared: Rows = field(default_factory=lambda: Rows(0, 0))
    _length: int = 0  # of the part of the rows that this snapshot looks at
    _idle: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))  # in order

    def __len__(self) -> int:
        return self._length - len(self._idle)

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(C,) True where the class was in the training set."""
        flags: NDArray[np.bool_] = self.of_classes(self._shared.is_seen[: self._length])
        return flags

    @property
    def familiarity(self) -> F32:
        """(C,) how much of gamma a class pays: 1 where it was in the training set, else by its
        photographs (`model.photographs`)."""
        shares: F32 = self.of_classes(self._shared.familiarity[: self._length])
        return shares

    @property
    def ids(self) -> tuple[str, ...]:
        """(C,), a new tuple."""
        return tuple(item.class_id for item in self._classes())

    @property
    def names(self) -> tuple[str, ...]:
        """(C,), a new tuple."""
        return tuple(item.name for item in self._classes())

    @property
    def prototypes(self) -> F32:
        """(C, D). A copy if rows are idle: for scoring, take `rows` and `of_classes`."""
        rows: F32 = self.of_classes(self.rows)
        return rows

    @cached_property
    def rows(self) -> F32:
        """(rows, D), all prototypes in one piece of memory, and those of idle rows between them."""
        rows = self._shared.prototypes[: self._length]
        rows.flags.writeable = False
        return rows

    def of_classes(self, values: NDArray[Any]) -> NDArray[Any]:
        """What was computed of `rows` (rows, ...) -> what is of a class (C, ...)."""
        return values if self._living is None else values[self._living]

    def find(self, class_id: str) -> int | None:
        """The position of a class."""
        row = self._row(class_id)
        return None if row is None else row - int(np.searchsorted(self._idle, row))

    def at(self, position: int) -> ClassSummary:
        row = position if self._living is None else int(self._living[position])
        return self._shared.classes[row]

    def take(self, positions: Sequence[int] | NDArray[np.intp]) -> F32:
        """(len(positions), D): the prototypes of some classes."""
        chosen = np.asarray(positions, np.intp)
        taken: F32 = self.rows[chosen if self._living is None else self._living[chosen]]
        return taken

    def page(self, after: str | None, limit: int) -> list[ClassSummary]:
        """The first `limit` classes whose ids come after `after`, in the order of ids."""
        found: list[ClassSummary] = []
        # Among these are ids of later snapshots and of removed classes.
        for ids in self._shared.ids_after(after, limit):
            rows = [row for class_id in ids if (row := self._row(class_id)) is not None]
            found += [self._shared.classes[row] for row in rows]
            if len(found) >= limit:
                break
        return found[:limit]

    def copied(self) -> "PrototypeTable":
        """The same classes in rows that no other snapshot shares. What follows from it by `advance`
        stays unseen by all others; it takes a copy of C rows."""
        return replace(self._alone(), revision=self.revision)

    def advance(
        self,
        revision: int,
        written: Mapping[str, tuple[ClassSummary, F32]],
        removed: Iterable[str] = (),
    ) -> "PrototypeTable":
        """The table after some writes; this one stays as it is.

        Args:
            revision: of the new table.
            written: id -> the class and its prototype (D,), new or in place of what was there.
            removed: ids; unknown ones are passed over.

        Raises:
            ValueError: a prototype of another length.
        """
        table = self._without({*written, *removed})
        if written:
            classes = [item for item, _ in written.values()]
            table = table._with(classes, np.stack([row for _, row in written.values()]))
        return replace(table, revision=revision)

    @cached_property
    def _living(self) -> NDArray[np.intp] | None:
        """(C,), the row of each position; None: they are the same."""
        return np.delete(np.arange(self._length), self._idle) if len(self._idle) else None

    def _classes(self) -> list[ClassSummary]:
        classes = self._shared.classes[: self._length]
        return classes if self._living is None else [classes[row] for row in self._living]

    def _row(self, class_id: str) -> int | None:
        """The newest row of a class in this snapshot, unless it is idle."""
        for row in reversed(self._shared.rows_of(class_id)):
            if row < self._length:
                place = int(np.searchsorted(self._idle, row)) if len(self._idle) else 0
                is_idle = place < len(self._idle) and self._idle[place] == row
                return None if is_idle else row
        return None

    def _without(self, class_ids: Iterable[str]) -> "PrototypeTable":
        gone = [row for class_id in class_ids if (row := self._row(class_id)) is not None]
        if not gone:
            return self
        table = replace(self, _idle=np.sort(np.concatenate([self._idle, np.array(gone, np.intp)])))
        return table._alone() if len(table._idle) * IDLE_SHARE > self._length else table

    def _with(self, classes: Sequence[ClassSummary], prototypes: F32) -> "PrototypeTable":
        """The same, and classes that it doesn't have."""
        length = self._length + len(classes)
        if not self._length:
            # The first classes say what D is.
            rows = Rows(prototypes.shape[1], length)
            rows.append(0, classes, prototypes)
            return replace(self, _shared=rows, _length=length)
        if self._shared.append(self._length, classes, prototypes):
            return replace(self, _length=length)
        # Another successor of the same snapshot has these rows.
        return self._alone()._with(classes, prototypes)

    def _alone(self) -> "PrototypeTable":
        """The same classes in rows of their own, none of them idle."""
        if not len(self):
            return PrototypeTable(self.revision)
        rows = Rows(self.rows.shape[1], len(self))
        rows.append(0, self._classes(), self.prototypes)
        return PrototypeTable(self.revision, rows, len(self))
