"""`ClassStore`: where registered classes live; and one in memory, for tests and for trying out.

Rules that every store keeps:

* A write takes its revision inside its transaction, from one counter; all of it or nothing.
* A removal leaves a tombstone, so that `changes_since` can tell it.
* A name belongs to one living class.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Protocol

from service.errors import (
    BundleClassError,
    ClassExists,
    NameTaken,
    PreconditionFailed,
    UnknownClass,
)
from service.registry.once import KEPT_S, Added, AddedBefore, Once, check_same
from service.registry.records import Changes, ClassRecord, ClassSummary, Expected, NewClass


class ClassStore(Protocol):
    """Every method may be called from several threads.

    Raises:
        StoreUnavailable: by any method. Nothing was written, unless the connection was lost while
            a commit was on its way: then nobody knows.
    """

    def revision(self) -> int:
        """The counter: how many writes there have been."""
        ...

    def changes_since(self, revision: int) -> Changes:
        """What living classes were written, and what was removed, after `revision`; 0 for all."""
        ...

    def get(self, class_id: str) -> ClassRecord | None:
        """One living class."""
        ...

    def photographs(self, class_id: str) -> list[bytes]:
        """Those of one living class, in their order; none if there is no such class."""
        ...

    def recall(self, once: Once) -> Added | None:
        """What `add` with this key wrote within the last day.

        Raises:
            IdempotencyKeyReused
        """
        ...

    def add(self, classes: Sequence[NewClass], once: Once | None = None) -> int:
        """Write new classes in one transaction; returns its revision.

        Raises:
            AddedBefore: by an earlier request with the key `once`.
            IdempotencyKeyReused: that request was another one.
            ClassExists, NameTaken: with the index of the class that can't be written.
        """
        ...

    def replace(self, item: NewClass, expected: Expected = None) -> int:
        """Write a class in place of the one with its id.

        Raises:
            UnknownClass, PreconditionFailed, NameTaken
        """
        ...

    def remove(self, class_id: str, expected: Expected = None) -> int:
        """Leave a tombstone.

        Raises:
            UnknownClass, PreconditionFailed
        """
        ...

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, in a thread of the store's own, soon after another process has written.

        Not every store can, and none promises to: it saves a follower the time until its next look.

        Returns:
            What ends it.
        """
        ...

    def close(self) -> None: ...


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record_of(item: NewClass, revision: int, created_at: str | None = None) -> ClassRecord:
    summary = ClassSummary(
        class_id=item.class_id,
        name=item.name,
        seen=False,
        given=item.given,
        filled=item.filled,
        revision=revision,
        created_at=created_at,
        examples=len(item.photographs),
    )
    return ClassRecord(summary, item.attributes, dict(item.metadata), item.mean)


def bundle_class(class_id: str, index: int | None = None) -> BundleClassError:
    return BundleClassError(
        f"{class_id!r} is one of the bundle's own classes, which are read-only; choose another id",
        index=index,
    )


def class_exists(class_id: str, index: int | None = None) -> ClassExists:
    return ClassExists(
        f"a class has the id {class_id!r} already; PUT /classes/{class_id} replaces it",
        index=index,
    )


def name_taken(name: str, index: int | None = None) -> NameTaken:
    return NameTaken(f"a class is called {name!r} already; choose another name", index=index)


def unknown_class(class_id: str) -> UnknownClass:
    return UnknownClass(f"no class has the id {class_id[:100]!r}. See GET /classes")


def check_expected(class_id: str, revision: int, expected: Expected) -> None:
    """Raises: PreconditionFailed, unless a class's revision is among those."""
    if expected is not None and revision not in expected:
        raise PreconditionFailed(
            f"class {class_id!r} is at revision {revision}, which If-Match doesn't name; "
            "get it again, and decide anew"
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
        self._rows: dict[str, _Row] = {}  # in the order of their last writes
        self._names: dict[str, str] = {}  # of living classes -> id
        self._photographs: dict[str, tuple[bytes, ...]] = {}
        self._answers: dict[str, _Answer] = {}  # by their keys

    def revision(self) -> int:
        return self._revision

    def changes_since(self, revision: int) -> Changes:
        with self._lock:
            newest = reversed(self._rows.items())
            new = list(takewhile(lambda pair: pair[1].revision > revision, newest))[::-1]
            return Changes(
                self._revision,
                [row.record for _, row in new if row.record],
                [key for key, row in new if not row.record],
            )

    def get(self, class_id: str) -> ClassRecord | None:
        row = self._rows.get(class_id)
        return row.record if row else None

    def photographs(self, class_id: str) -> list[bytes]:
        return list(self._photographs.get(class_id, ()))

    def recall(self, once: Once) -> Added | None:
        found = self._answers.get(once.key)
        if found is None or found.expires <= time.time():
            return None
        check_same(once, found.fingerprint)
        return found.added

    def add(self, classes: Sequence[NewClass], once: Once | None = None) -> int:
        with self._lock:
            if once and (before := self.recall(once)):
                raise AddedBefore(before)
            for index, item in enumerate(classes):
                if self.get(item.class_id):
                    raise class_exists(item.class_id, index)
                if item.name in self._names:
                    raise name_taken(item.name, index)
            self._revision += 1
            records = [record_of(item, self._revision, now()) for item in classes]
            for item, record in zip(classes, records, strict=True):
                self._write(item.class_id, record)
                self._photographs[item.class_id] = item.photographs
            if once:
                added = Added([record.summary for record in records], self._revision, again=True)
                self._keep(once, added)
            return self._revision

    def replace(self, item: NewClass, expected: Expected = None) -> int:
        with self._lock:
            old = self.get(item.class_id)
            if old is None:
                raise unknown_class(item.class_id)
            check_expected(item.class_id, old.summary.revision, expected)
            if self._names.get(item.name, item.class_id) != item.class_id:
                raise name_taken(item.name)
            self._revision += 1
            created_at = old.summary.created_at or now()
            self._write(item.class_id, record_of(item, self._revision, created_at))
            self._photographs[item.class_id] = item.photographs
            return self._revision

    def remove(self, class_id: str, expected: Expected = None) -> int:
        with self._lock:
            old = self.get(class_id)
            if old is None:
                raise unknown_class(class_id)
            check_expected(class_id, old.summary.revision, expected)
            self._revision += 1
            self._write(class_id, None)
            return self._revision

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 - from nobody
        return lambda: None

    def close(self) -> None:
        self._rows.clear()
        self._names.clear()
        self._photographs.clear()

    def _keep(self, once: Once, added: Added) -> None:
        moment = time.time()
        living = {key: item for key, item in self._answers.items() if item.expires > moment}
        self._answers = living | {once.key: _Answer(added, once.fingerprint, moment + KEPT_S)}

    def _write(self, class_id: str, record: ClassRecord | None) -> None:
        if (old := self.get(class_id)) is not None:
            del self._names[old.summary.name]
        self._rows.pop(class_id, None)
        self._photographs.pop(class_id, None)
        self._rows[class_id] = _Row(self._revision, record)
        if record is not None:
            self._names[record.summary.name] = class_id
