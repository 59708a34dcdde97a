"""Register: sheets and names -> classes that can be recognised at once."""

import asyncio
import json
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from model.errors import SheetError
from model.sheets import AttributeSpace, FilledSheet, fill
from service.engine.generation import Generation
from service.errors import IdempotencyInProgress, ServiceError, SheetRefused, UnknownClass
from service.registry.once import Added, Once
from service.registry.records import CLASS_ID, ClassRecord, ClassSummary, Expected, NewClass
from service.registry.store import class_exists, name_taken, unknown_class
from service.usecases.photographs import with_photographs

MAX_METADATA_BYTES = 16 * 1024
_NAME_LENGTH = 200
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line separators


@dataclass(frozen=True)
class Draft:
    """A class as a client describes it; nothing in it has been checked."""

    name: Any
    attributes: Any
    class_id: Any = None
    metadata: Any = None
    like: Any = None  # the id of a class whose sheet it starts from
    examples: Sequence[bytes] = ()  # image files


def _no_class(class_id: str) -> ClassRecord:
    raise unknown_class(class_id)


def checked(
    draft: Draft,
    space: AttributeSpace,
    index: int | None = None,
    find: Callable[[str], ClassRecord] = _no_class,
) -> NewClass:
    """A class that can be written, without its photographs.

    Args:
        find: id -> a class that is there, for `like`.

    Raises:
        UnknownClass: there is no class that it should be like.
        SheetRefused: `name_invalid`, `class_id_invalid`, `metadata_invalid`, `metadata_too_large`,
            `like_invalid`, or the code of what `model.sheets.fill` found.
    """
    try:
        class_id = str(uuid.uuid4()) if draft.class_id is None else _checked_id(draft.class_id)
        name = _checked_name(draft.name)
        metadata = {} if draft.metadata is None else _checked_metadata(draft.metadata)
        sheet = _sheet(draft, space, find)
    except UnknownClass as error:
        error.index = index
        raise
    except SheetError as error:
        where = "" if index is None else f"classes[{index}]: "
        raise SheetRefused(error.code, where + str(error), index=index) from error
    return NewClass(class_id, name, sheet.values, sheet.given, sheet.filled, metadata)


def _sheet(draft: Draft, space: AttributeSpace, find: Callable[[str], ClassRecord]) -> FilledSheet:
    if draft.like is None:
        return fill(draft.attributes, space)
    if not isinstance(draft.like, str):
        raise SheetError("like_invalid", f"like is a class's id, not {_shown(draft.like)}")
    attributes = {} if draft.attributes is None else draft.attributes
    return fill(attributes, space, find(draft.like).attributes)


def checked_batch(
    drafts: Sequence[Draft],
    space: AttributeSpace,
    find: Callable[[str], ClassRecord] = _no_class,
) -> list[NewClass]:
    """Check each, and that no two are the same.

    Raises:
        UnknownClass
        SheetRefused, ClassExists, NameTaken: with the index of the class.
    """
    result = []
    ids: set[str] = set()
    names: set[str] = set()
    for index, draft in enumerate(drafts):
        item = checked(draft, space, index, find)
        if item.class_id in ids:
            raise class_exists(item.class_id, index)
        if item.name in names:
            raise name_taken(item.name, index)
        ids.add(item.class_id)
        names.add(item.name)
        result.append(item)
    return result


class Register:
    """The use case. Checking runs in `workers`, writing in the registry's own thread.

    Args:
        max_image_bytes: of one photograph.
    """

    def __init__(self, workers: Executor, max_image_bytes: int) -> None:
        self._workers = workers
        self._max_image_bytes = max_image_bytes
        self._in_progress: set[str] = set()  # keys of clients; changes on the event loop alone

    async def add(
        self,
        generation: Generation,
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
        registry = generation.registry
        if once is None:
            return await self._add(generation, drafts, single, None)
        if once.key in self._in_progress:
            raise IdempotencyInProgress(
                f"a request with the Idempotency-Key {once.key!r} is being answered; try again"
            )
        self._in_progress.add(once.key)
        try:
            # Before anything is checked: what was like another class, say, need not be any more.
            before = await registry.recall(once)
            if before is None:
                return await self._add(generation, drafts, single, once)
            if registry.table.revision < before.revision:
                # Another replica added them: they can be recognised here, too, once this returns.
                # (`catch_up` may join a look that began before they were there.)
                await registry.call(registry.refresh)
            return before
        finally:
            self._in_progress.discard(once.key)

    async def _add(
        self, generation: Generation, drafts: Sequence[Draft], single: bool, once: Once | None
    ) -> Added:
        registry = generation.registry
        try:
            new = await self._prepared(generation, drafts, single)
            return await registry.call(lambda: registry.register(new, once))
        except ServiceError as error:
            if single:
                error.index = None
            raise

    async def prepared(self, generation: Generation, draft: Draft) -> NewClass:
        """A class that can be written, with what the network sees in its photographs.

        Raises:
            ServiceError
        """
        try:
            (new,) = await self._prepared(generation, [draft], single=True)
        except ServiceError as error:
            error.index = None
            raise
        return new

    async def _prepared(
        self, generation: Generation, drafts: Sequence[Draft], single: bool
    ) -> list[NewClass]:
        liked = {draft.like for draft in drafts if isinstance(draft.like, str)}
        # Not in `workers`, which a slow database must not hold up.
        known = await generation.registry.look_up(liked) if liked else {}

        def find(class_id: str) -> ClassRecord:
            return known.get(class_id) or _no_class(class_id)

        def check() -> list[NewClass]:
            if single:
                return [checked(drafts[0], generation.space, None, find)]
            return checked_batch(drafts, generation.space, find)

        new = await asyncio.get_running_loop().run_in_executor(self._workers, check)
        files = [draft.examples for draft in drafts]
        return await with_photographs(generation, self._workers, new, files, self._max_image_bytes)

    async def replace(
        self, generation: Generation, class_id: str, draft: Draft, expected: Expected = None
    ) -> tuple[ClassSummary, int]:
        """Put a class in place of the one with this id.

        Raises:
            ServiceError
        """
        registry = generation.registry
        await registry.check_writable(class_id, expected)
        if draft.class_id not in (None, class_id):
            raise SheetRefused(
                "class_id_mismatch", "class_id in the body isn't the path's; leave it out"
            )
        new = await self.prepared(generation, replace(draft, class_id=class_id))
        return await registry.call(lambda: registry.replace(new, expected))

    async def remove(self, generation: Generation, class_id: str, expected: Expected = None) -> int:
        """Remove a class; returns the revision that lacks it.

        Raises:
            ServiceError
        """
        registry = generation.registry
        return await registry.call(lambda: registry.remove(class_id, expected))


def _checked_id(value: Any) -> str:
    if not isinstance(value, str) or not CLASS_ID.fullmatch(value) or value in (".", ".."):
        raise SheetError(
            "class_id_invalid",
            f"class_id {_shown(value)} isn't 1 to 100 characters of A-Z a-z 0-9 . _ -",
        )
    return value


def _checked_name(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _NAME_LENGTH or not value.strip():
        raise SheetError(
            "name_invalid", f"name {_shown(value)} isn't a text of 1 to {_NAME_LENGTH} characters"
        )
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in value):
        raise SheetError("name_invalid", f"name {_shown(value)} has control characters")
    return value


def _checked_metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SheetError("metadata_invalid", "metadata isn't a JSON object")
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise SheetError(
            "metadata_invalid",
            f"metadata can't be kept as JSON ({type(error).__name__}): "
            "numbers must be finite, and objects not nested without end",
        ) from error
    if len(text) > MAX_METADATA_BYTES:
        raise SheetError(
            "metadata_too_large",
            f"metadata has {len(text)} bytes as JSON; at most {MAX_METADATA_BYTES} are kept",
        )
    return value


def _shown(value: Any) -> str:
    return repr(value[:100]) if isinstance(value, str) else f"({type(value).__name__})"
