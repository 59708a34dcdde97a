"""Registered classes in memory, for tests and for trying out."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from service.registry.once import KEPT_S, Added, AddedBefore, Once, check_same
from service.registry.records import Changes, ClassRecord, Expected, Key, NewClass
from service.registry.store import (
    Taken,
    check_expected,
    name_taken,
    now,
    record_of,
    unknown_class,
)


@dataclass(frozen=True)
class _Row:
    revision: int
    record: ClassRecord | None  # None: a tombstone


@dataclass(frozen=True)
class _Answer:
    added: Added
    fingerprint: str
    expires: float  # seconds since 1970


class MemoryStore:
    """A `ClassStore` that forgets everything with its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = 0
        self._rows: dict[Key, _Row] = {}  # in the order of their last writes
        self._names: dict[Key, str] = {}  # a collection and a living class's name -> its id
        self._photographs: dict[Key, tuple[bytes, ...]] = {}
        self._answers: dict[Key, _Answer] = {}  # by a collection and a client's key

    def revision(self) -> int:
        return self._revision

    def changes_since(self, revision: int, take: Callable[[Changes], None]) -> int:
        with self._lock:
            newest = self._revision
            latest = reversed(self._rows.items())
            new = list(takewhile(lambda pair: pair[1].revision > revision, latest))[::-1]
        written = {key: row.record for key, row in new if row.record}
        take(Changes(written, [key for key, row in new if not row.record]))
        return newest

    def get(self, collection: str, class_id: str) -> ClassRecord | None:
        row = self._rows.get((collection, class_id))
        return row.record if row else None

    def page(self, collection: str, after: str, limit: int) -> list[ClassRecord]:
        with self._lock:
            found = [
                row.record
                for (where, class_id), row in self._rows.items()
                if where == collection and class_id > after and row.record
            ]
        return sorted(found, key=lambda record: record.summary.class_id)[:limit]

    def taken(self, collection: str, classes: Sequence[NewClass]) -> Taken:
        ids = {item.class_id for item in classes if self.get(collection, item.class_id)}
        names = {item.name for item in classes if (collection, item.name) in self._names}
        return Taken(frozenset(ids), frozenset(names))

    def photographs(self, collection: str, class_id: str) -> list[bytes]:
        return list(self._photographs.get((collection, class_id), ()))

    def recall(self, collection: str, once: Once) -> Added | None:
        found = self._answers.get((collection, once.key))
        if found is None or found.expires <= time.time():
            return None
        check_same(once, found.fingerprint)
        return found.added

    def add(self, collection: str, classes: Sequence[NewClass], once: Once | None = None) -> int:
        with self._lock:
            if once and (before := self.recall(collection, once)):
                raise AddedBefore(before)
            taken = self.taken(collection, classes)
            for index, item in enumerate(classes):
                taken.check(item, index)
            self._revision += 1
            records = [record_of(item, self._revision, now()) for item in classes]
            for item, record in zip(classes, records, strict=True):
                self._write((collection, item.class_id), record, item.photographs)
            if once:
                added = Added([record.summary for record in records], self._revision, again=True)
                self._keep((collection, once.key), once.fingerprint, added)
            return self._revision

    def replace(self, collection: str, item: NewClass, expected: Expected = None) -> int:
        with self._lock:
            old = self._current(collection, item.class_id, expected)
            if self._names.get((collection, item.name), item.class_id) != item.class_id:
                raise name_taken(item.name)
            self._revision += 1
            record = record_of(item, self._revision, old.summary.created_at)
            self._write((collection, item.class_id), record, item.photographs)
            return self._revision

    def remove(self, collection: str, class_id: str, expected: Expected = None) -> int:
        with self._lock:
            self._current(collection, class_id, expected)
            self._revision += 1
            self._write((collection, class_id), None)
            return self._revision

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 - from nobody
        return lambda: None

    def close(self) -> None:
        self._rows.clear()
        self._names.clear()
        self._photographs.clear()
        self._answers.clear()

    def _current(self, collection: str, class_id: str, expected: Expected) -> ClassRecord:
        """Raises: UnknownClass, PreconditionFailed."""
        found = self.get(collection, class_id)
        if found is None:
            raise unknown_class(class_id)
        check_expected(class_id, found.summary.revision, expected)
        return found

    def _keep(self, key: Key, fingerprint: str, added: Added) -> None:
        moment = time.time()
        living = {each: item for each, item in self._answers.items() if item.expires > moment}
        self._answers = living | {key: _Answer(added, fingerprint, moment + KEPT_S)}

    def _write(
        self, key: Key, record: ClassRecord | None, photographs: tuple[bytes, ...] = ()
    ) -> None:
        collection, class_id = key
        old = self._rows.pop(key, None)
        if old is not None and old.record is not None:
            del self._names[collection, old.record.summary.name]
        self._rows[key] = _Row(self._revision, record)
        self._photographs[key] = photographs
        if record is not None:
            self._names[collection, record.summary.name] = class_id
