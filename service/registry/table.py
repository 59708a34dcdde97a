"""`PrototypeTable`: an immutable snapshot of all classes, in blocks that snapshots share."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import accumulate, islice

import numpy as np
from numpy.typing import NDArray

from model.runtime.base import F32
from service.registry.records import ClassSummary

BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Block:
    """Up to `BLOCK_ROWS` classes; never changed once made."""

    classes: tuple[ClassSummary, ...]
    prototypes: F32  # (rows, D), unit rows

    def __post_init__(self) -> None:
        self.prototypes.flags.writeable = False

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Id -> row."""
        return {item.class_id: row for row, item in enumerate(self.classes)}

    @cached_property
    def is_seen(self) -> NDArray[np.bool_]:
        return np.array([item.seen for item in self.classes], np.bool_)

    @cached_property
    def ordered(self) -> tuple[str, ...]:
        """Ids in order."""
        return tuple(sorted(self.rows))


@dataclass(frozen=True, eq=False)
class PrototypeTable:
    """All classes at one revision. A position counts through the blocks, from 0 to C - 1.

    Positions belong to one snapshot: a removal moves those behind it.
    """

    revision: int = 0
    blocks: tuple[Block, ...] = ()

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        return tuple(accumulate(map(len, self.blocks), initial=0))

    @cached_property
    def is_seen(self) -> NDArray[np.bool_]:
        """(C,) True where the class was in the training set."""
        parts = [block.is_seen for block in self.blocks]
        return np.concatenate([np.empty(0, np.bool_), *parts])

    @property
    def ids(self) -> tuple[str, ...]:
        """(C,), a new tuple."""
        return tuple(item.class_id for block in self.blocks for item in block.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """(C,), a new tuple."""
        return tuple(item.name for block in self.blocks for item in block.classes)

    @property
    def prototypes(self) -> F32:
        """(C, D), a copy of all of them: for scoring, go through `blocks`."""
        return np.concatenate([block.prototypes for block in self.blocks])

    def find(self, class_id: str) -> int | None:
        """The position of a class."""
        for start, block in zip(self._starts, self.blocks, strict=False):
            if (row := block.rows.get(class_id)) is not None:
                return start + row
        return None

    def at(self, position: int) -> ClassSummary:
        number = bisect_right(self._starts, position) - 1
        return self.blocks[number].classes[position - self._starts[number]]

    def take(self, positions: Sequence[int] | NDArray[np.intp]) -> F32:
        """(len(positions), D): the prototypes of some classes."""
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        pairs = zip(numbers, positions, strict=True)
        return np.stack([self.blocks[n].prototypes[p - self._starts[n]] for n, p in pairs])

    def page(self, after: str | None, limit: int) -> list[ClassSummary]:
        """The first `limit` classes whose ids come after `after`, in the order of ids."""

        def tail(block: Block) -> Iterable[tuple[str, ClassSummary]]:
            first = 0 if after is None else bisect_right(block.ordered, after)
            for class_id in islice(block.ordered, first, first + limit):
                yield class_id, block.classes[block.rows[class_id]]

        return [item for _, item in islice(merge(*map(tail, self.blocks)), limit)]

    def advance(
        self,
        revision: int,
        written: Mapping[str, tuple[ClassSummary, F32]],
        removed: Iterable[str] = (),
    ) -> "PrototypeTable":
        """The table after some writes; blocks that they don't touch are shared with this one.

        Args:
            revision: of the new table.
            written: id -> the class and its prototype (D,), new or in place of what was there.
            removed: ids; unknown ones are passed over.
        """
        new = dict(written)
        gone = set(removed) - new.keys()
        meant = gone | new.keys()
        blocks: list[Block] = []
        for block in self.blocks:
            if not block.rows.keys() & meant:
                blocks.append(block)
                continue
            kept = [row for row, item in enumerate(block.classes) if item.class_id not in gone]
            classes = [block.classes[row] for row in kept]
            prototypes = block.prototypes[kept]
            for row, item in enumerate(classes):
                if item.class_id in new:
                    classes[row], prototypes[row] = new.pop(item.class_id)
            if classes:
                blocks.append(Block(tuple(classes), prototypes))
        return PrototypeTable(revision, tuple(_appended(_merged(blocks), list(new.values()))))


def _merged(blocks: Sequence[Block]) -> list[Block]:
    """Neighbours that fill half a block together become one, so that removals leave no crumbs."""
    result: list[Block] = []
    for block in blocks:
        if result and len(result[-1]) + len(block) <= BLOCK_ROWS // 2:
            block = _joined(result.pop(), block.classes, block.prototypes)  # noqa: PLW2901
        result.append(block)
    return result


def _appended(blocks: list[Block], new: Sequence[tuple[ClassSummary, F32]]) -> list[Block]:
    """Fill the last block, then start others."""
    done = 0
    if new and blocks and (space := BLOCK_ROWS - len(blocks[-1])) > 0:
        done = min(space, len(new))
        head = new[:done]
        blocks[-1] = _joined(blocks[-1], [c for c, _ in head], np.stack([p for _, p in head]))
    for start in range(done, len(new), BLOCK_ROWS):
        part = new[start : start + BLOCK_ROWS]
        blocks.append(Block(tuple(c for c, _ in part), np.stack([p for _, p in part])))
    return blocks


def _joined(block: Block, classes: Sequence[ClassSummary], prototypes: F32) -> Block:
    return Block((*block.classes, *classes), np.concatenate([block.prototypes, prototypes]))
