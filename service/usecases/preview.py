"""Preview: how an image would be ranked if a class were registered. Nothing is stored."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from service.engine.generation import Generation
from service.registry.records import NewClass
from service.registry.store import bundle_class, record_of
from service.registry.table import PrototypeTable
from service.usecases.checking import Draft
from service.usecases.classify import Answer, Classify, Field, Question
from service.usecases.ranking import candidates
from service.usecases.register_class import Register


@dataclass(frozen=True, eq=False)
class Preview:
    """The answer of `Classify.one` with the draft among the classes, and what belongs to it."""

    answer: Answer
    class_id: str  # of the draft
    revision: int


class Previews:
    """The use case.

    Args:
        workers: where the draft's prototype is computed.
        register: checks the draft.
        classify: ranks the image.
    """

    def __init__(self, workers: Executor, register: Register, classify: Classify) -> None:
        self._workers = workers
        self._register = register
        self._classify = classify

    async def preview(
        self, generation: Generation, draft: Draft, image: bytes, question: Question
    ) -> Preview:
        """Classify an image as if a class were there already.

        A draft with the id of a registered class stands in its place. Ids in `question.class_ids`
        are the draft's rivals; it need not be among them.

        Raises:
            SheetRefused: the draft can't be registered.
            BundleClassError: it has the id of one of the bundle's own classes.
            UnknownClass, NoCandidates, RevisionUnavailable: as `Classify.field`.
            model.errors.ImageError: not an image that can be used.
            ServiceError, BatchError
        """
        table = await self._classify.table(generation, question)
        new = await self._register.prepared(generation, question.collection, draft)
        field = await asyncio.get_running_loop().run_in_executor(
            self._workers, _field, generation, table, new, question
        )
        answer = await self._classify.one(generation, field, image, question)
        return Preview(answer, new.class_id, field.table.revision)


def _field(
    generation: Generation, table: PrototypeTable, new: NewClass, question: Question
) -> Field:
    position = table.find(new.class_id)
    if position is not None and table.at(position).seen:
        raise bundle_class(new.class_id)
    made = generation.registry.prototypes
    (row,) = made.of_sheets([new.attributes])
    together = made.with_photographs(record_of(new, table.revision), row)
    # In rows of its own: the registry's next class takes the place behind the table's last row.
    with_it = table.copied().advance(table.revision, {new.class_id: together})
    return Field(with_it, candidates(with_it, _rivals(question, new), question.scope))


def _rivals(question: Question, new: NewClass) -> Sequence[str] | None:
    return None if question.class_ids is None else (*question.class_ids, new.class_id)
