"""Neighbours: the classes that a class will be confused with."""

from dataclasses import dataclass

from model import scoring
from service.registry.records import ClassSummary
from service.registry.store import unknown_class
from service.registry.table import PrototypeTable


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
