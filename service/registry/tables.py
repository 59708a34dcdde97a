"""`Tables`: a snapshot of the classes of every collection, at one revision."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from model.runtime.base import F32
from service.registry.records import ClassSummary, Key
from service.registry.table import PrototypeTable

Written = tuple[ClassSummary, F32]  # a class and its prototype (D,)


class Tables:
    """A table for each collection that has classes, with the bundle's own in all of them. What it
    says stays the same.

    Args:
        revision: how many writes there had been, in all collections.
        own: the bundle's classes.
        registered: collection -> its table, at that revision or at an earlier one.
    """

    def __init__(
        self,
        revision: int = 0,
        own: PrototypeTable | None = None,
        registered: Mapping[str, PrototypeTable] | None = None,
    ) -> None:
        self.revision = revision
        self._own = replace(PrototypeTable() if own is None else own, revision=revision)
        self._registered = dict(registered or {})

    def of(self, collection: str) -> PrototypeTable:
        """A collection's classes; where nobody has registered any, the bundle's own alone."""
        table = self._registered.get(collection)
        if table is None:
            return self._own
        if table.revision != self.revision:  # others' writes have moved the counter since
            # Kept, for what a table caches.
            table = self._registered[collection] = replace(table, revision=self.revision)
        return table

    def without_registered(self) -> "Tables":
        """The bundle's own classes alone, at revision 0."""
        return Tables(own=self._own)

    @property
    def own_count(self) -> int:
        return len(self._own)

    def registered_counts(self) -> dict[str, int]:
        """How many classes were registered in each collection that has any."""
        own = len(self._own)
        return {name: len(table) - own for name, table in self._registered.items()}

    def advance(
        self, revision: int, written: Mapping[Key, Written], removed: Iterable[Key] = ()
    ) -> "Tables":
        """The tables after some writes; these stay as they are.

        Args:
            removed: unknown ones are passed over.
        """
        changes: dict[str, tuple[dict[str, Written], set[str]]] = {}
        for (collection, class_id), row in written.items():
            changes.setdefault(collection, ({}, set()))[0][class_id] = row
        for collection, class_id in removed:
            changes.setdefault(collection, ({}, set()))[1].add(class_id)
        registered = dict(self._registered)
        for collection, (rows, gone) in changes.items():
            table = registered.pop(collection, None)
            if table is None:
                table = self._own.copied()  # else the first one's classes would lie in its rows
            table = table.advance(revision, rows, gone)
            if len(table) > len(self._own):
                registered[collection] = table
        return Tables(revision, self._own, registered)
