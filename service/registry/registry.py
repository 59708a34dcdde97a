"""`Registry`: the classes of one bundle: its own, and those that were registered."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from model.bundle import BundleClass
from model.runtime.base import F32
from service.errors import StoreUnavailable
from service.registry.line import Line
from service.registry.once import Added, AddedBefore, Once
from service.registry.prototypes import Prototypes
from service.registry.records import (
    CLASS_ID,
    ClassRecord,
    ClassSummary,
    Expected,
    NewClass,
    PhotographsMean,
    own_record,
)
from service.registry.store import (
    ClassStore,
    bundle_class,
    check_expected,
    name_taken,
    record_of,
    unknown_class,
)
from service.registry.table import PrototypeTable

log = logging.getLogger(__name__)

_READERS = 2
_BURST_S = 0.01

Result = TypeVar("Result")


class Registry:
    """Keeps `table` in step with the store. Reading `table` needs no lock.

    Methods block and may be called from any thread. `call` runs one in the registry's own, `look`
    one that only reads; no other thread should wait for a database.

    Args:
        store: where registered classes live.
        own: the bundle's classes. They are laid over the store's, and are never stored.
        prototypes: of the bundle's network.

    Attributes:
        successor: of another bundle, on the same store, once that one answers: it knows of every
            write of this one before its client does.
    """

    def __init__(
        self,
        store: ClassStore,
        own: Sequence[BundleClass],
        prototypes: Prototypes,
    ) -> None:
        self._store = store
        self._own = {item.class_id: own_record(item) for item in own}
        self._own_names = {item.name: item.class_id for item in own}
        self.prototypes = prototypes
        self._lock = threading.Lock()
        self._writing = Line("registry", 1)
        self._reading = Line("registry-read", _READERS)
        self._refreshing: asyncio.Future[None] | None = None
        self._table = PrototypeTable()
        # Of photographs whose mean in the store is another bundle's: id -> (revision, mean).
        self._means: dict[str, tuple[int, PhotographsMean | None]] = {}
        self.successor: Registry | None = None

    @property
    def table(self) -> PrototypeTable:
        """The newest snapshot."""
        return self._table

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run something in the registry's own thread. Raises also: what `Line.call` raises."""
        return await self._writing.call(function)

    async def look(self, class_id: str) -> ClassRecord:
        """`get`, off the event loop. Raises also: what `Line.call` raises."""
        found = await self.look_up([class_id])
        if class_id not in found:
            raise unknown_class(class_id)
        return found[class_id]

    async def look_up(self, class_ids: Iterable[str]) -> dict[str, ClassRecord]:
        """`look` for several; those that are not there are left out."""
        asked = set(class_ids)
        found = {class_id: self._own[class_id] for class_id in asked & self._own.keys()}
        if others := asked - found.keys():
            stored = await self._reading.call(lambda: [self._stored(each) for each in others])
            found |= {record.summary.class_id: record for record in stored if record}
        return found

    async def check_writable(self, class_id: str, expected: Expected = None) -> None:
        """Check that there is such a class, and that it can be changed.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed
            StoreUnavailable, DeadlinePassed
        """
        self._refuse_own(class_id)
        check_expected(class_id, (await self.look(class_id)).summary.revision, expected)

    async def catch_up(self) -> None:
        """`refresh` in the registry's thread; callers that come meanwhile share one run."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self.call(self.refresh))
            # Nobody may be left to hear that it failed.
            self._refreshing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._refreshing)

    async def follow(self, interval_s: float) -> None:
        """Catch up again and again, until cancelled: after each interval, or when woken earlier."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        stop = self._store.listen(wake)
        is_failing = False
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), interval_s)
                    # More of them may come at once.
                    await asyncio.sleep(_BURST_S)
                woken.clear()
                is_failing = not await self._caught_up(is_failing)
        finally:
            stop()

    async def _caught_up(self, was_failing: bool) -> bool:
        """Whether it could; said when that changes, not several times a second."""
        where = {"revision": self._table.revision}
        try:
            await self.catch_up()
        except Exception:
            if not was_failing:
                log.exception("registry can't follow", extra=where)
            return False
        if was_failing:
            log.info("registry follows again", extra=where)
        return True

    def load(self) -> None:
        """Lay out the bundle's classes and everything that is in the store."""
        with self._lock:
            rows = self._computed(list(self._own.values()), {})
            table = PrototypeTable().advance(0, rows)
            self._table = self._advanced(table, {})
        log.info(
            "classes loaded",
            extra={"classes": len(self._table), "revision": self._table.revision},
        )

    def get(self, class_id: str) -> ClassRecord:
        """Everything that was said of one class.

        Raises:
            UnknownClass, StoreUnavailable
        """
        found = self._own.get(class_id) or self._stored(class_id)
        if found is None:
            raise unknown_class(class_id)
        return found

    def _stored(self, class_id: str) -> ClassRecord | None:
        found = self._store.get(class_id) if CLASS_ID.fullmatch(class_id) else None
        return found and self._of_this_bundle(found)

    def _of_this_bundle(self, record: ClassRecord) -> ClassRecord:
        """With the mean of its photographs as this bundle's network sees them, found once."""
        if not self.prototypes.is_foreign(record):
            return record
        class_id, revision = record.summary.class_id, record.summary.revision
        kept = self._means.get(class_id)
        if kept is None or kept[0] != revision:
            mean = self.prototypes.mean_again(self._store.photographs(class_id))
            kept = self._means[class_id] = (revision, mean)
        return replace(record, mean=kept[1])

    def prototypes_of(self, record: ClassRecord) -> Callable[[F32], F32]:
        """What a class would be compared by under other sheets: (C, A) -> (C, D)."""
        return self.prototypes.of_other_sheets(record)

    async def recall(self, once: Once) -> Added | None:
        """What an earlier `register` with this key answered. Raises also: what `Line.call` raises.

        Raises:
            IdempotencyKeyReused: it was of another request.
        """
        return await self._reading.call(lambda: self._store.recall(once))

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
            self._refuse_own(item.class_id, index)
            self._refuse_own_name(item.name, index)
        known = self._known(classes)
        try:
            revision = self._store.add(classes, once)
        except AddedBefore as before:
            self._follow([], before.added.revision, {})
            return before.added
        log.info("classes registered", extra={"count": len(classes), "revision": revision})
        return Added(self._follow(classes, revision, known), revision)

    def replace(self, item: NewClass, expected: Expected = None) -> tuple[ClassSummary, int]:
        """Put a class in place of the one with its id.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed, NameTaken, StoreUnavailable
        """
        self._refuse_own(item.class_id)
        self._refuse_own_name(item.name)
        known = self._known([item])
        revision = self._store.replace(item, expected)
        log.info("class replaced", extra={"class_id": item.class_id, "revision": revision})
        return self._follow([item], revision, known)[0], revision

    def remove(self, class_id: str, expected: Expected = None) -> int:
        """Remove a class; returns the revision that lacks it.

        Raises:
            UnknownClass, BundleClassError, PreconditionFailed, StoreUnavailable
        """
        self._refuse_own(class_id)
        if not CLASS_ID.fullmatch(class_id):  # not every database takes every character
            raise unknown_class(class_id)
        revision = self._store.remove(class_id, expected)
        log.info("class removed", extra={"class_id": class_id, "revision": revision})
        self._follow([], revision, {})
        return revision

    def refresh(self) -> None:
        """Follow what others wrote.

        Raises:
            StoreUnavailable
        """
        if self._store.revision() != self._table.revision:
            self._advance({})
        self._tell_successor()

    def close(self, *, keep_store: bool = False) -> None:
        self._writing.close()
        self._reading.close()
        if not keep_store:
            self._store.close()

    def _tell_successor(self) -> None:
        # It may be called off at any moment, and its network closed.
        successor = self.successor
        if successor is None:
            return
        try:
            successor.refresh()
        except Exception:
            # It refreshes by itself before it answers, and again and again from then on.
            log.exception("successor can't follow", extra={"revision": self._table.revision})

    def _refuse_own(self, class_id: str, index: int | None = None) -> None:
        if class_id in self._own:
            raise bundle_class(class_id, index)

    def _refuse_own_name(self, name: str, index: int | None = None) -> None:
        if name in self._own_names:
            raise name_taken(name, index)

    def _known(self, classes: Sequence[NewClass]) -> dict[bytes, F32]:
        """Prototypes by sheet: computed before the commit, so that a failure writes nothing."""
        sheets = {item.attributes.tobytes(): item.attributes for item in classes}
        return dict(zip(sheets, self.prototypes.of_sheets(list(sheets.values())), strict=True))

    def _follow(
        self, classes: Sequence[NewClass], revision: int, known: Mapping[bytes, F32]
    ) -> list[ClassSummary]:
        """Take the table to a commit of our own, and read back what was written."""
        try:
            self._advance(known)
        except StoreUnavailable:
            # It is written; the next refresh will show it.
            log.exception("committed but not loaded", extra={"revision": revision})
        self._tell_successor()
        table = self._table  # a predecessor's thread may move it meanwhile
        places = [(item, table.find(item.class_id)) for item in classes]
        return [
            # Another replica may have removed it in the meantime.
            record_of(item, revision).summary if place is None else table.at(place)
            for item, place in places
        ]

    def _advance(self, known: Mapping[bytes, F32]) -> None:
        """The only way forward, for our own writes and for others'."""
        with self._lock:
            self._table = self._advanced(self._table, known)

    def _advanced(self, table: PrototypeTable, known: Mapping[bytes, F32]) -> PrototypeTable:
        changes = self._store.changes_since(table.revision)
        written = []
        removed = set(changes.removed)
        for class_id in removed:
            self._means.pop(class_id, None)
        for record in changes.written:
            summary = record.summary
            owner = self._own_names.get(summary.name)
            if summary.class_id in self._own or owner is not None:
                # Registered under another bundle, whose own classes were others.
                log.warning(
                    "stored class is hidden by one of the bundle's own",
                    extra={"class_id": summary.class_id, "by": owner or summary.class_id},
                )
                removed.add(summary.class_id)
                continue
            written.append(record)
        computed = self._computed(written, known)
        return table.advance(changes.revision, computed, removed - self._own.keys())

    def _computed(
        self, records: Sequence[ClassRecord], known: Mapping[bytes, F32]
    ) -> dict[str, tuple[ClassSummary, F32]]:
        """Each class with its prototype, by id."""
        keys = [record.attributes.tobytes() if known else b"" for record in records]
        pairs = list(zip(map(self._of_this_bundle, records), keys, strict=True))
        fresh = iter(
            self.prototypes.of_sheets([r.attributes for r, key in pairs if key not in known])
        )
        return {
            record.summary.class_id: self.prototypes.with_photographs(
                record, known[key] if key in known else next(fresh)
            )
            for record, key in pairs
        }
