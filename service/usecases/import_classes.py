"""Import: sheets, line by line -> classes; what is wrong with one line holds no other up."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from service.engine.generation import Generation
from service.errors import ClassExists, NameTaken, ServiceError
from service.registry.records import ClassRecord, NewClass
from service.usecases.checking import Draft, checked, no_class
from service.usecases.photographs import with_photographs

LARGEST_REPORT = 1000  # problems that are told


@dataclass
class Report:
    """What became of the lines so far; `problems` are the first ones, by line."""

    registered: int = 0
    skipped: int = 0
    failed: int = 0
    problems: list[tuple[int, ServiceError]] = field(default_factory=list)

    def add(self, registered: int, refused: Mapping[int, ServiceError], skipped: int) -> None:
        self.registered += registered
        self.skipped += skipped
        self.failed += len(refused)
        room = LARGEST_REPORT - len(self.problems)
        self.problems += sorted(refused.items())[:room]


class Import:
    """The use case.

    Args:
        workers: where classes are checked.
        max_image_bytes: of one photograph.
    """

    def __init__(self, workers: Executor, max_image_bytes: int) -> None:
        self._workers = workers
        self._max_image_bytes = max_image_bytes

    async def batch(
        self,
        generation: Generation,
        collection: str,
        lines: Mapping[int, Draft | ServiceError],
        report: Report,
        *,
        skip_existing: bool,
    ) -> None:
        """Register the classes of some lines, one after the other as it seems, and in as few
        transactions as that allows, but for those that can't be.

        Args:
            lines: by their numbers, from 1; or why one can't be read.
            report: is told.
            skip_existing: an id or a name that is there already is no problem.

        Raises:
            DeadlinePassed: nobody knows of the lines that are not in the report.
            ServiceError, BatchError: they are not registered.
        """
        for run in _runs(lines):
            await self._run(generation, collection, run, report, skip_existing)

    async def _run(
        self,
        generation: Generation,
        collection: str,
        lines: Mapping[int, Draft | ServiceError],
        report: Report,
        skip_existing: bool,
    ) -> None:
        """Lines that don't build on each other: one transaction."""
        loop = asyncio.get_running_loop()
        refused = {at: line for at, line in lines.items() if isinstance(line, ServiceError)}
        drafts = {at: line for at, line in lines.items() if isinstance(line, Draft)}
        classes = generation.collection(collection)
        liked = {draft.like for draft in drafts.values() if isinstance(draft.like, str)}
        known = await classes.look_up(liked) if liked else {}
        new = await loop.run_in_executor(
            self._workers, _checked, generation, drafts, known, refused
        )
        for line in [line for line in new if drafts[line].examples]:
            try:
                new[line] = await self._photographed(generation, new[line], drafts[line])
            except ServiceError as error:
                if error.status >= 500:  # the line is not to blame
                    raise
                refused[line] = _alone(error)
                del new[line]
        added, others = await generation.registry.call(
            lambda: classes.register_each(list(new.values()))
        )
        places = list(new)
        there = {places[index]: _alone(error) for index, error in others.items()}
        skipped = 0
        if skip_existing:
            kept = {line for line, e in there.items() if isinstance(e, ClassExists | NameTaken)}
            skipped = len(kept)
            there = {line: error for line, error in there.items() if line not in kept}
        report.add(len(added.classes), refused | there, skipped)

    async def _photographed(self, generation: Generation, new: NewClass, draft: Draft) -> NewClass:
        (found,) = await with_photographs(
            generation, self._workers, [new], [draft.examples], self._max_image_bytes
        )
        return found


def _runs(lines: Mapping[int, Draft | ServiceError]) -> Iterator[dict[int, Draft | ServiceError]]:
    """Cut before each line that needs to know what became of one of its run: it is like it, or has
    its id or its name."""
    run: dict[int, Draft | ServiceError] = {}
    taken: set[tuple[str, str]] = set()
    for number, line in lines.items():
        if isinstance(line, Draft):
            own = _texts(id=line.class_id) | _texts(name=line.name)
            if not taken.isdisjoint(own | _texts(id=line.like)):
                yield run
                run, taken = {}, set()
            taken |= own
        run[number] = line
    if run:
        yield run


def _texts(**values: Any) -> set[tuple[str, str]]:
    """What is no text is refused later, or stands for nothing."""
    return {(kind, value) for kind, value in values.items() if isinstance(value, str)}


def _checked(
    generation: Generation,
    drafts: Mapping[int, Draft],
    known: Mapping[str, ClassRecord],
    refused: dict[int, ServiceError],
) -> dict[int, NewClass]:
    """The classes that can be written, by line; `refused` is told of the others."""

    def find(class_id: str) -> ClassRecord:
        return known.get(class_id) or no_class(class_id)

    new = {}
    for line, draft in drafts.items():
        try:
            new[line] = checked(draft, generation.space, None, find)
        except ServiceError as error:
            refused[line] = error
    return new


def _alone(error: ServiceError) -> ServiceError:
    """Without its place in a list that nobody sent."""
    error.index = None
    return error
