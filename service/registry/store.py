"""`ClassStore`: where registered classes live.

Rules that every store keeps:

* A write takes its revision inside its transaction, from one counter; all of it or nothing.
* A removal leaves a tombstone, so that `changes_since` can tell it.
* A name belongs to one living class of a collection. Nothing that is said of one collection reads
  or writes another, but all share the counter.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from service.errors import (
    BundleClassError,
    ClassExists,
    NameTaken,
    PreconditionFailed,
    UnknownClass,
)
from service.registry.once import Added, Once
from service.registry.records import Changes, ClassRecord, ClassSummary, Expected, NewClass


class Taken(NamedTuple):
    """Ids and names that can't be given again."""

    ids: frozenset[str]
    names: frozenset[str]

    def check(self, item: NewClass, index: int | None = None) -> None:
        """Raises: ClassExists, NameTaken."""
        if item.class_id in self.ids:
            raise class_exists(item.class_id, index)
        if item.name in self.names:
            raise name_taken(item.name, index)


class ClassStore(Protocol):
    """Every method may be called from several threads.

    Raises:
        StoreUnavailable: by any method. Nothing was written, unless the connection was lost while
            a commit was on its way: then nobody knows.
    """

    def revision(self) -> int:
        """The counter: how many writes there have been."""
        ...

    def changes_since(self, revision: int, take: Callable[[Changes], None]) -> int:
        """Hand over what living classes were written in all collections, and what was removed,
        after `revision`; 0 for all. `take` gets them in pieces, for all of them need not fit in
        memory, and doesn't keep them waiting: the store is read meanwhile.

        Returns:
            The revision whose state they are.
        """
        ...

    def get(self, collection: str, class_id: str) -> ClassRecord | None:
        """One living class."""
        ...

    def page(self, collection: str, after: str, limit: int) -> list[ClassRecord]:
        """The first living classes whose ids come after `after`, in the order of ids."""
        ...

    def taken(self, collection: str, classes: Sequence[NewClass]) -> Taken:
        """Which of these classes' ids and names living ones have."""
        ...

    def photographs(self, collection: str, class_id: str) -> list[bytes]:
        """Those of one living class, in their order; none if there is no such class."""
        ...

    def recall(self, collection: str, once: Once) -> Added | None:
        """What `add` with this key wrote within the last day.

        Raises:
            IdempotencyKeyReused
        """
        ...

    def add(self, collection: str, classes: Sequence[NewClass], once: Once | None = None) -> int:
        """Write new classes in one transaction; returns its revision.

        Raises:
            AddedBefore: by an earlier request with the key `once`.
            IdempotencyKeyReused: that request was another one.
            ClassExists, NameTaken: with the index of the class that can't be written.
        """
        ...

    def replace(self, collection: str, item: NewClass, expected: Expected = None) -> int:
        """Write a class in place of the one with its id.

        Raises:
            UnknownClass, PreconditionFailed, NameTaken
        """
        ...

    def remove(self, collection: str, class_id: str, expected: Expected = None) -> int:
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
