"""`Collection`: the classes of one collection, as whoever works with it sees them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model.runtime.base import F32
from service.errors import BundleClassError, ClassExists, NameTaken, ServiceError
from service.registry.once import Added, AddedBefore, Once
from service.registry.records import CLASS_ID, ClassRecord, ClassSummary, Expected, NewClass
from service.registry.registry import Registry
from service.registry.store import check_expected, record_of, unknown_class
from service.registry.table import PrototypeTable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collection:
    """The bundle's own classes, and those that were registered in this collection, if any were.

    A class of another collection is unknown here, and its id and its name are free.

    Methods that are not coroutines block, for as long as the database takes; `Registry.call` runs
    one in the registry's own thread.
    """

    registry: Registry
    name: str

    @property
    def table(self) -> PrototypeTable:
        """The newest snapshot; reading it needs no lock."""
        return self.registry.tables.of(self.name)

    async def look(self, class_id: str) -> ClassRecord:
        """`get`, off the event loop. Raises also: what `Line.call` raises."""
        return (await self.look_all([class_id]))[0]

    async def look_all(self, class_ids: Sequence[str]) -> list[ClassRecord]:
        """`look` for several, in their order."""
        found = await self.look_up(class_ids)
        for class_id in class_ids:
            if class_id not in found:
                raise unknown_class(class_id)
        return [found[class_id] for class_id in class_ids]

    async def look_up(self, class_ids: Iterable[str]) -> dict[str, ClassRecord]:
        """`look` for some, by their ids; those that are not there are left out."""
        asked, own = set(class_ids), self.registry.own.records
        found = {class_id: own[class_id] for class_id in asked & own.keys()}
        if others := asked - found.keys():
            stored = await self.registry.reading.call(lambda: [self._stored(i) for i in others])
            found |= {record.summary.class_id: record for record in stored if record}
        return found

    async def check_writable(self, class_id: str, expected: Expected = None) -> None:
        """Check that there is such a class, and that it can be changed.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed
            StoreUnavailable, DeadlinePassed
        """
        self.registry.own.refuse(class_id)
        check_expected(class_id, (await self.look(class_id)).summary.revision, expected)

    def get(self, class_id: str) -> ClassRecord:
        """Everything that was said of one class.

        Raises:
            UnknownClass, StoreUnavailable
        """
        found = self.registry.own.records.get(class_id) or self._stored(class_id)
        if found is None:
            raise unknown_class(class_id)
        return found

    async def recall(self, once: Once) -> Added | None:
        """What an earlier `register` with this key answered. Raises also: what `Line.call` raises.

        Raises:
            IdempotencyKeyReused: it was of another request.
        """
        return await self.registry.reading.call(lambda: self.registry.store.recall(self.name, once))

    def register(self, classes: Sequence[NewClass], once: Once | None = None) -> Added:
        """Add classes, all or none; they can be recognised when this returns.

        Returns:
            The classes, in order, and the revision that holds them.

        Raises:
            IdempotencyKeyReused
            BundleClassError, ClassExists, NameTaken: with the index of the class.
            StoreUnavailable: nothing was written.
        """
        for index, item in enumerate(classes):
            self.registry.own.refuse_new(item, index)
        known = self.registry.known(classes)
        try:
            revision = self.registry.store.add(self.name, classes, once)
        except AddedBefore as before:
            self.registry.follow_write(before.added.revision, {})
            return before.added
        self._tell("classes registered", revision, count=len(classes))
        return Added(self._written(classes, revision, known), revision)

    def register_each(self, classes: Sequence[NewClass]) -> tuple[Added, dict[int, ServiceError]]:
        """Add those that can be added.

        Returns:
            What was added, and by their index the errors of the others: BundleClassError,
            ClassExists, NameTaken.

        Raises:
            StoreUnavailable: nothing was written.
        """
        refused: dict[int, ServiceError] = {}
        left = dict(enumerate(classes))
        while left:
            taken = self.registry.store.taken(self.name, list(left.values()))
            for index, item in list(left.items()):
                try:
                    self.registry.own.refuse_new(item)
                    taken.check(item)
                except (BundleClassError, ClassExists, NameTaken) as error:
                    refused[index] = error
                    del left[index]
            try:
                if left:
                    return self.register(list(left.values())), refused
            except (ClassExists, NameTaken):  # someone else was quicker
                continue
        return Added([], self.registry.tables.revision), refused

    async def page(self, after: str, limit: int) -> list[ClassRecord]:
        """Registered classes, in the store's order of ids. Raises: what `Line.call` raises."""
        return await self.registry.reading.call(
            lambda: self.registry.store.page(self.name, after, limit)
        )

    def replace(self, item: NewClass, expected: Expected = None) -> tuple[ClassSummary, int]:
        """Put a class in place of the one with its id.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed, NameTaken, StoreUnavailable
        """
        self.registry.own.refuse_new(item)
        known = self.registry.known([item])
        revision = self.registry.store.replace(self.name, item, expected)
        self._tell("class replaced", revision, class_id=item.class_id)
        return self._written([item], revision, known)[0], revision

    def remove(self, class_id: str, expected: Expected = None) -> int:
        """Remove a class; returns the revision that lacks it.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed, StoreUnavailable
        """
        self.registry.own.refuse(class_id)
        if not CLASS_ID.fullmatch(class_id):
            raise unknown_class(class_id)
        revision = self.registry.store.remove(self.name, class_id, expected)
        self._tell("class removed", revision, class_id=class_id)
        self.registry.follow_write(revision, {})
        return revision

    def _stored(self, class_id: str) -> ClassRecord | None:
        if not CLASS_ID.fullmatch(class_id):  # not every database takes every character
            return None
        found = self.registry.store.get(self.name, class_id)
        return found and self.registry.of_this_bundle(self.name, found)

    def _written(
        self, classes: Sequence[NewClass], revision: int, known: Mapping[bytes, F32]
    ) -> list[ClassSummary]:
        """Take the table to a commit of our own, and read back what was written."""
        self.registry.follow_write(revision, known)
        table, summaries = self.table, []
        for item in classes:
            place = table.find(item.class_id)
            found = None if place is None else table.at(place)
            # Another replica may have removed or replaced it in the meantime.
            if found is None or found.revision != revision:
                created_at = None if found is None else found.created_at
                found = record_of(item, revision, created_at).summary
            summaries.append(found)
        return summaries

    def _tell(self, event: str, revision: int, **what: object) -> None:
        log.info(event, extra={"collection": self.name, "revision": revision, **what})
