"""What the tests of the stores share."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from service.errors import (
    ServiceError,
)
from service.registry.once import AddedBefore
from service.registry.records import Changes, ClassRecord, Key, NewClass, PhotographsMean
from service.registry.store import ClassStore

NAMES = tuple(f"attribute-{i}" for i in range(9))
OTHERS = NAMES[::-1]
MEAN = PhotographsMean(np.array([0.6, -0.8, 0.1], np.float32), "c" * 64)
PHOTOGRAPHS = (b"\x89PNG first", b"\x00second\xff", b"third")


def photographed(item: NewClass, photographs: tuple[bytes, ...] = PHOTOGRAPHS) -> NewClass:
    return replace(item, photographs=photographs, mean=MEAN)


class Since(NamedTuple):
    """What a store tells of the time since a revision, all pieces together."""

    revision: int
    written: dict[Key, ClassRecord]
    removed: list[Key]


def changes_since(store: ClassStore, revision: int) -> Since:
    written: dict[Key, ClassRecord] = {}
    removed: list[Key] = []

    def take(changes: Changes) -> None:
        written.update(changes.written)
        removed.extend(changes.removed)

    return Since(store.changes_since(revision, take), written, removed)


def told(changes: Since) -> tuple[int, list[str], list[str]]:
    written = sorted(record.summary.class_id for record in changes.written.values())
    return changes.revision, written, sorted(class_id for _, class_id in changes.removed)


def at_once(count: int, write: Callable[[int], object]) -> list[object]:
    """What so many threads get of a write each: its result, or its error."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        try:
            return write(number)
        except (ServiceError, AddedBefore) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
