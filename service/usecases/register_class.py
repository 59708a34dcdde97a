"""Register: sheets and names -> classes that can be recognised at once."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from service.engine.generation import Generation
from service.errors import IdempotencyInProgress, ServiceError, SheetRefused
from service.registry.once import Added, Once
from service.registry.records import ClassRecord, ClassSummary, Expected, NewClass
from service.usecases.checking import Draft, checked, checked_batch, no_class
from service.usecases.photographs import with_photographs


class Register:
    """The use case. Checking runs in `workers`, writing in the registry's own thread.

    Args:
        max_image_bytes: of one photograph.
    """

    def __init__(self, workers: Executor, max_image_bytes: int) -> None:
        self._workers = workers
        self._max_image_bytes = max_image_bytes
        # Collections with keys of clients; changes on the event loop alone.
        self._in_progress: set[tuple[str, str]] = set()

    async def add(
        self,
        generation: Generation,
        collection: str,
        drafts: Sequence[Draft],
        *,
        single: bool = False,
        once: Once | None = None,
    ) -> Added:
        """Register all or none; with `once`, only the first time.

        Raises:
            IdempotencyInProgress, IdempotencyKeyReused
            ServiceError: with the index of the class that can't be registered, unless `single`.
        """
        if once is None:
            return await self._add(generation, collection, drafts, single, None)
        key = collection, once.key
        if key in self._in_progress:
            raise IdempotencyInProgress(
                f"a request with the Idempotency-Key {once.key!r} is being answered; try again"
            )
        self._in_progress.add(key)
        try:
            # Before anything is checked: what was like another class, say, need not be any more.
            before = await generation.collection(collection).recall(once)
            if before is None:
                return await self._add(generation, collection, drafts, single, once)
            registry = generation.registry
            if registry.tables.revision < before.revision:
                # Another replica added them: they can be recognised here, too, once this returns.
                # (`catch_up` may join a look that began before they were there.)
                await registry.call(registry.refresh)
            return before
        finally:
            self._in_progress.discard(key)

    async def prepared(self, generation: Generation, collection: str, draft: Draft) -> NewClass:
        """A class that can be written, with what the network sees in its photographs.

        Raises:
            ServiceError
        """
        try:
            (new,) = await self._prepared(generation, collection, [draft], single=True)
        except ServiceError as error:
            error.index = None
            raise
        return new

    async def replace(
        self,
        generation: Generation,
        collection: str,
        class_id: str,
        draft: Draft,
        expected: Expected = None,
    ) -> tuple[ClassSummary, int]:
        """Put a class in place of the one with this id.

        Raises:
            ServiceError
        """
        classes = generation.collection(collection)
        await classes.check_writable(class_id, expected)
        if draft.class_id not in (None, class_id):
            raise SheetRefused(
                "class_id_mismatch", "class_id in the body isn't the path's; leave it out"
            )
        new = await self.prepared(generation, collection, replace(draft, class_id=class_id))
        return await generation.registry.call(lambda: classes.replace(new, expected))

    async def remove(
        self, generation: Generation, collection: str, class_id: str, expected: Expected = None
    ) -> int:
        """Remove a class; returns the revision that lacks it.

        Raises:
            ServiceError
        """
        classes = generation.collection(collection)
        return await generation.registry.call(lambda: classes.remove(class_id, expected))

    async def _add(
        self,
        generation: Generation,
        collection: str,
        drafts: Sequence[Draft],
        single: bool,
        once: Once | None,
    ) -> Added:
        classes = generation.collection(collection)
        try:
            new = await self._prepared(generation, collection, drafts, single)
            return await generation.registry.call(lambda: classes.register(new, once))
        except ServiceError as error:
            if single:
                error.index = None
            raise

    async def _prepared(
        self, generation: Generation, collection: str, drafts: Sequence[Draft], single: bool
    ) -> list[NewClass]:
        liked = {draft.like for draft in drafts if isinstance(draft.like, str)}
        # Not in `workers`, which a slow database must not hold up.
        known = await generation.collection(collection).look_up(liked) if liked else {}

        def find(class_id: str) -> ClassRecord:
            return known.get(class_id) or no_class(class_id)

        def check() -> list[NewClass]:
            if single:
                return [checked(drafts[0], generation.space, None, find)]
            return checked_batch(drafts, generation.space, find)

        new = await asyncio.get_running_loop().run_in_executor(self._workers, check)
        files = [draft.examples for draft in drafts]
        return await with_photographs(generation, self._workers, new, files, self._max_image_bytes)
