"""Preview: how an image would be ranked if a class were registered. Nothing is stored."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from service.engine.generation import Generation
from service.errors import BundleClassError
from service.registry.records import ClassSummary, NewClass
from service.registry.table import PrototypeTable
from service.usecases.classify import Answer, Classify, Field, Question, candidates
from service.usecases.register_class import Draft, checked


@dataclass(frozen=True, eq=False)
class Preview:
    """The answer of `Classify.one` with the draft among the classes, and what belongs to it."""

    answer: Answer
    class_id: str  # of the draft
    revision: int


class Previews:
    """The use case.

    Args:
        workers: where the draft is checked and its prototype computed.
        classify: ranks the image.
    """

    def __init__(self, workers: Executor, classify: Classify) -> None:
        self._workers = workers
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
        table = await self._classify.table(generation, question.min_revision)
        new, field = await asyncio.get_running_loop().run_in_executor(
            self._workers, _field, generation, table, draft, question
        )
        answer = await self._classify.one(generation, field, image, question)
        return Preview(answer, new.class_id, field.table.revision)


def _field(
    generation: Generation, table: PrototypeTable, draft: Draft, question: Question
) -> tuple[NewClass, Field]:
    new = checked(draft, generation.space)
    position = table.find(new.class_id)
    if position is not None and table.at(position).seen:
        raise BundleClassError(
            f"{new.class_id!r} is one of the bundle's own classes, which are read-only; "
            "choose another id"
        )
    summary = ClassSummary(new.class_id, new.name, False, new.given, new.filled, table.revision)
    row = generation.backend.prototypes(new.attributes.astype(np.float32)[None])[0]
    # In rows of its own: the registry's next class takes the place behind the table's last row.
    together = table.copied().advance(table.revision, {new.class_id: (summary, row)})
    return new, Field(together, candidates(together, _rivals(question, new), question.scope))


def _rivals(question: Question, new: NewClass) -> Sequence[str] | None:
    return None if question.class_ids is None else (*question.class_ids, new.class_id)
