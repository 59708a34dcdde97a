"""`Registry`: the classes of one bundle, its own and those of every collection."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import TypeVar

from model.bundle import BundleClass
from model.runtime.base import F32
from service import tracing
from service.registry.line import Line
from service.registry.own import OwnClasses
from service.registry.prototypes import Prototypes
from service.registry.records import Changes, ClassRecord, Key, NewClass, PhotographsMean
from service.registry.store import ClassStore
from service.registry.table import PrototypeTable
from service.registry.tables import Tables, Written
from service.registry.traced_store import STORE_CALL

log = logging.getLogger(__name__)

_READERS = 2
_BURST_S = 0.01

Result = TypeVar("Result")


class Registry:
    """Keeps `tables` in step with the store. Reading `tables` needs no lock.

    Methods block and may be called from any thread. `call` runs one in the registry's own; no other
    thread should wait for a database.

    Args:
        store: where registered classes live.
        own: the bundle's classes.
        prototypes: of the bundle's network.

    Attributes:
        tables: the newest snapshot.
        reading: the line of those who only read the store.
        successor: of another bundle, on the same store, once that one answers: it knows of every
            write of this one before its client does.
    """

    def __init__(
        self,
        store: ClassStore,
        own: Sequence[BundleClass],
        prototypes: Prototypes,
    ) -> None:
        self.store = store
        self.own = OwnClasses(own)
        self.prototypes = prototypes
        self.tables = Tables()
        self.reading = Line("registry-read", _READERS)
        self.successor: Registry | None = None
        self._lock = threading.Lock()
        self._writing = Line("registry", 1)
        self._refreshing: asyncio.Future[None] | None = None
        # Of photographs whose mean in the store is another bundle's: key -> (revision, mean).
        self._means: dict[Key, tuple[int, PhotographsMean | None]] = {}

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run something in the registry's own thread. Raises also: what `Line.call` raises."""
        return await self._writing.call(function)

    async def catch_up(self) -> None:
        """`refresh` in the registry's thread; callers that come meanwhile share one run."""
        if self._refreshing is None or self._refreshing.done():
            # Of no request's context: others may wait for it, too.
            self._refreshing = asyncio.create_task(self.call(self.refresh), context=Context())
            # Nobody may be left to hear that it failed.
            self._refreshing.add_done_callback(lambda done: done.cancelled() or done.exception())
        with tracing.span("store", {STORE_CALL: "refresh"}):
            await asyncio.shield(self._refreshing)

    async def follow(self, interval_s: float) -> None:
        """Catch up again and again, until cancelled: after each interval, or when woken earlier."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        stop = self.store.listen(wake)
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
        where = {"revision": self.tables.revision}
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
            own = list(self.own.records.values())
            rows = {item.class_id: (item, row) for item, row in self._computed(own, {})}
            self.tables = self._advanced(Tables(own=PrototypeTable().advance(0, rows)), {})
        counts = self.tables.registered_counts()
        log.info(
            "classes loaded",
            extra={
                "own": self.tables.own_count,
                "registered": sum(counts.values()),
                "collections": len(counts),
                "revision": self.tables.revision,
            },
        )

    def of_this_bundle(self, collection: str, record: ClassRecord) -> ClassRecord:
        """With the mean of its photographs as this bundle's network sees them, found once."""
        if not self.prototypes.is_foreign(record):
            return record
        class_id, revision = record.summary.class_id, record.summary.revision
        key = collection, class_id
        kept = self._means.get(key)
        if kept is None or kept[0] != revision:
            mean = self.prototypes.mean_again(self.store.photographs(collection, class_id))
            kept = self._means[key] = (revision, mean)
        return replace(record, mean=kept[1])

    def prototypes_of(self, record: ClassRecord) -> Callable[[F32], F32]:
        """What a class would be compared by under other sheets: (C, A) -> (C, D)."""
        return self.prototypes.of_other_sheets(record)

    def known(self, classes: Sequence[NewClass]) -> dict[bytes, F32]:
        """Prototypes by sheet: computed before the commit, so that a failure writes nothing."""
        sheets = {item.attributes.tobytes(): item.attributes for item in classes}
        return dict(zip(sheets, self.prototypes.of_sheets(list(sheets.values())), strict=True))

    def refresh(self) -> None:
        """Follow what others wrote.

        Raises:
            StoreUnavailable
        """
        known = self.tables.revision  # first: another thread may move it on
        stored = self.store.revision()
        if stored < known:
            self._start_over(stored)
        elif stored > known:
            self._advance({})
        self._tell_successor()

    def _start_over(self, stored: int) -> None:
        """Of a database that has lost writes, by a backup or a standby that took over, nothing that
        was known need be true."""
        log.error(
            "the database went back; reading all classes again",
            extra={"revision": self.tables.revision, "stored": stored},
        )
        with self._lock:
            self._means.clear()
            self.tables = self._advanced(self.tables.without_registered(), {})

    def follow_write(self, revision: int, known: Mapping[bytes, F32]) -> None:
        """Follow a commit of our own; `known` as the method of this name returned it."""
        try:
            self._advance(known)
        except Exception:
            # It is written; the next refresh will show it.
            log.exception("committed but not loaded", extra={"revision": revision})
        self._tell_successor()

    def close(self, *, keep_store: bool = False) -> None:
        self._writing.close()
        self.reading.close()
        if not keep_store:
            self.store.close()

    def _tell_successor(self) -> None:
        # It may be called off at any moment, and its network closed.
        successor = self.successor
        if successor is None:
            return
        try:
            successor.refresh()
        except Exception:
            # It refreshes by itself before it answers, and again and again from then on.
            log.exception("successor can't follow", extra={"revision": self.tables.revision})

    def _advance(self, known: Mapping[bytes, F32]) -> None:
        """The only way forward, for our own writes and for others'."""
        with self._lock:
            self.tables = self._advanced(self.tables, known)

    def _advanced(self, tables: Tables, known: Mapping[bytes, F32]) -> Tables:
        rows: dict[Key, Written] = {}
        foreign: dict[Key, ClassRecord] = {}
        removed: list[Key] = []

        def take(changes: Changes) -> None:
            removed.extend(changes.removed)
            ready = {}
            for key, record in changes.written.items():
                if hidden_by := self.own.hiding(record):
                    log.warning(
                        "stored class is hidden by one of the bundle's own",
                        extra={"collection": key[0], "class_id": key[1], "by": hidden_by},
                    )
                    removed.append(key)
                elif self.prototypes.is_foreign(record):
                    foreign[key] = record
                else:
                    ready[key] = record
            rows.update(zip(ready, self._computed(list(ready.values()), known), strict=True))

        revision = self.store.changes_since(tables.revision, take)
        for key in removed:
            self._means.pop(key, None)
        # Only now, for the store would be kept waiting: their photographs are looked at again.
        records = [self.of_this_bundle(key[0], record) for key, record in foreign.items()]
        rows.update(zip(foreign, self._computed(records, known), strict=True))
        gone = [key for key in removed if key[1] not in self.own.records]
        return tables.advance(revision, rows, gone)

    def _computed(
        self, records: Sequence[ClassRecord], known: Mapping[bytes, F32]
    ) -> list[Written]:
        """Each class with its prototype; the means of their photographs are this bundle's."""
        keys = [record.attributes.tobytes() if known else b"" for record in records]
        pairs = list(zip(records, keys, strict=True))
        fresh = iter(
            self.prototypes.of_sheets([r.attributes for r, key in pairs if key not in known])
        )
        return [
            self.prototypes.with_photographs(record, known[key] if key in known else next(fresh))
            for record, key in pairs
        ]
