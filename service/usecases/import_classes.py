"""Import: sheets, line by line -> classes; what is wrong with one line holds no other up."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from service.engine.generation import Generation
from service.errors import ClassExists, NameTaken, ServiceError
from service.registry.records import ClassRecord, NewClass
from service.registry.store import Taken, record_of
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
        """Register the classes of some lines in one transaction, but for those that can't be.

        Args:
            lines: by their numbers, from 1; or why one can't be read.
            report: is told.
            skip_existing: an id or a name that is there already is no problem.

        Raises:
            StoreUnavailable, DeadlinePassed: none of these lines is registered.
            ServiceError, BatchError
        """
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
                (new[line],) = await with_photographs(
                    generation,
                    self._workers,
                    [new[line]],
                    [drafts[line].examples],
                    self._max_image_bytes,
                )
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


def _checked(
    generation: Generation,
    drafts: Mapping[int, Draft],
    known: Mapping[str, ClassRecord],
    refused: dict[int, ServiceError],
) -> dict[int, NewClass]:
    """The classes that can be written, by line; one may be like one of an earlier line."""
    made: dict[str, NewClass] = {}
    names: set[str] = set()
    result = {}

    def find(class_id: str) -> ClassRecord:
        if class_id in made:
            return record_of(made[class_id], 0)
        return known.get(class_id) or no_class(class_id)

    for line, draft in drafts.items():
        try:
            item = checked(draft, generation.space, None, find)
            Taken(frozenset(made), frozenset(names)).check(item)
        except ServiceError as error:
            refused[line] = error
        else:
            made[item.class_id] = result[line] = item
            names.add(item.name)
    return result


def _alone(error: ServiceError) -> ServiceError:
    """Without its place in a list that nobody sent."""
    error.index = None
    return error
