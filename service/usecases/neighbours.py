"""Neighbours: the classes that a class will be confused with."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from model import scoring
from service.registry.records import ClassSummary
from service.registry.store import unknown_class
from service.registry.table import PrototypeTable

# Two sheets this near differ by less than what people disagree on. (The nearest two of the 79
# species of `weights/birds` have 0.91.)
NEARLY_THE_SAME = 0.95
LOOKED_AT = 100  # classes of one registration


@dataclass(frozen=True)
class Lookalike:
    """A class that can hardly be told from another one."""

    class_id: str
    neighbour: "Neighbour"


@dataclass(frozen=True)
class Neighbour:
    item: ClassSummary
    similarity: float  # the cosine of both prototypes


def neighbours(table: PrototypeTable, class_id: str, count: int) -> list[Neighbour]:
    """The classes whose prototypes lie nearest to a class's, nearest first, without itself.

    An image is scored by its cosine with each prototype: the nearer two of them lie, the less an
    image can tell their classes apart.

    Raises:
        UnknownClass
    """
    position = table.find(class_id)
    if position is None:
        raise unknown_class(class_id)
    row = table.take([position])
    cosines = table.of_classes(scoring.cosine_logits(row, table.rows, 1.0)[0]).copy()
    cosines[position] = -2  # below every cosine
    best = scoring.top_k(cosines, min(count, len(table) - 1)) if len(table) > 1 else ()
    return [Neighbour(table.at(int(at)), float(cosines[at])) for at in best]


def lookalikes(table: PrototypeTable, class_ids: Iterable[str]) -> list[Lookalike]:
    """Which of the first `LOOKED_AT` classes are nearly another one, and which. One that is gone
    again is passed over."""
    found = []
    for class_id in islice(class_ids, LOOKED_AT):
        if table.find(class_id) is not None:
            found += [Lookalike(class_id, near) for near in neighbours(table, class_id, 1)]
    return [item for item in found if item.neighbour.similarity >= NEARLY_THE_SAME]
