"""Classify: images and a question -> ranked classes."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from model.errors import ImageError
from model.preprocess import Box
from model.runtime.base import F32, U8
from service import tracing
from service.engine.generation import Generation
from service.errors import RequestError, RevisionUnavailable
from service.registry.records import DEFAULT_COLLECTION
from service.registry.table import PrototypeTable
from service.usecases.gathering import IMAGES_AT_ONCE, gathered
from service.usecases.ranking import (
    Positions,
    Prediction,
    Scope,
    candidates,
    rank,
    strongest,
)

STRONGEST_ATTRIBUTES = 10
REVISION_WAIT_S = 1.0
REVISION_POLL_S = 0.05
# Classes that are scored in less time than another thread takes to wake up.
_SMALL = 1000


@dataclass(frozen=True)
class Question:
    """What is asked of an image; `gamma` None: the bundle's."""

    collection: str = DEFAULT_COLLECTION
    top_k: int = 5
    class_ids: tuple[str, ...] | None = None
    scope: Scope = "all"
    gamma: float | None = None
    min_revision: int = 0
    box: Box | None = None
    look: int = 1  # how often
    known_threshold: float | None = None  # in units of `score`; None: the bundle's


@dataclass(frozen=True)
class Answer:
    """`attributes` are the strongest, on the sheet's scale; times in seconds."""

    predictions: list[Prediction]
    attributes: list[tuple[str, float]]
    decode_s: float
    inference_s: float  # with the wait for a lane
    score_s: float
    embedding: F32  # (D,)
    known: bool | None  # None: nothing says from which score on
    window: Box | None = None  # of the second look, in pixels of the upright original


@dataclass(frozen=True)
class Field:
    """The classes that one request is about: a snapshot, and the positions of its candidates."""

    table: PrototypeTable
    positions: Positions | None  # None: all of them


class Classify:
    """The use case. Decoding and inference leave the event loop, and scoring of many classes.

    Args:
        workers: where scoring runs.
    """

    def __init__(self, workers: Executor) -> None:
        self._workers = workers

    async def field(self, generation: Generation, question: Question) -> Field:
        """Take the snapshot that a request will be scored on.

        Raises:
            UnknownClass, NoCandidates
            RevisionUnavailable: `min_revision` didn't come in time.
        """
        table = await self.table(generation, question)
        if question.class_ids is None and (question.scope == "all" or len(table) <= _SMALL):
            return Field(table, candidates(table, None, question.scope))
        positions = await asyncio.get_running_loop().run_in_executor(
            self._workers, candidates, table, question.class_ids, question.scope
        )
        return Field(table, positions)

    async def table(self, generation: Generation, question: Question) -> PrototypeTable:
        """A snapshot of the collection that is asked, no older than `min_revision`.

        Raises:
            RevisionUnavailable: it didn't come in time.
        """
        registry, wanted = generation.registry, question.min_revision
        if (table := registry.tables.of(question.collection)).revision >= wanted:
            return table
        try:
            async with asyncio.timeout(REVISION_WAIT_S):
                while True:
                    await registry.catch_up()
                    if (table := registry.tables.of(question.collection)).revision >= wanted:
                        return table
                    await asyncio.sleep(REVISION_POLL_S)
        except TimeoutError as error:
            raise RevisionUnavailable(
                f"the registry is at revision {registry.tables.revision}, before {wanted}; "
                "try again, or ask for a revision that a write answered"
            ) from error

    async def one(
        self, generation: Generation, field: Field, image: bytes | U8, question: Question
    ) -> Answer:
        """Classify one image: a file, or pixels (S, S, 3), of which `box` and `look` ask nothing.

        Raises:
            model.errors.ImageError: not an image that can be used.
            ServiceError, BatchError
        """
        started = time.perf_counter()
        if isinstance(image, bytes):
            seen = await generation.inference.see(image, question.box, question.look)
        else:
            seen = await generation.inference.embed(image)
        embedded = time.perf_counter()
        manifest = generation.bundle.manifest

        def score() -> tuple[list[Prediction], bool | None, list[tuple[str, float]]]:
            gamma = manifest.gamma if question.gamma is None else question.gamma
            ranking = rank(
                seen.embedding,
                field.table,
                field.positions,
                manifest.temperature,
                gamma,
                question.top_k,
            )
            known = ranking.is_known(manifest, question.known_threshold)
            attributes = strongest(seen.attributes, manifest.attributes.names, STRONGEST_ATTRIBUTES)
            return ranking.predictions, known, attributes

        with tracing.span("score"):
            if len(field.table) <= _SMALL:
                predictions, known, attributes = score()
            else:
                loop = asyncio.get_running_loop()
                predictions, known, attributes = await loop.run_in_executor(self._workers, score)
        return Answer(
            predictions=predictions,
            attributes=attributes,
            decode_s=seen.decode_s,
            inference_s=embedded - started - seen.decode_s,
            score_s=time.perf_counter() - embedded,
            embedding=seen.embedding,
            known=known,
            window=seen.window.box if seen.window else None,
        )

    async def many(
        self,
        generation: Generation,
        field: Field,
        images: Sequence[bytes | U8 | RequestError],
        question: Question,
    ) -> list[Answer | ImageError | RequestError]:
        """Classify several images; one that can't be used has its error in its place."""
        at_once = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def guarded(image: bytes | U8 | RequestError) -> Answer | ImageError | RequestError:
            if isinstance(image, RequestError):
                return image
            async with at_once:
                try:
                    return await self.one(generation, field, image, question)
                except ImageError as error:
                    return error

        return await gathered(guarded(image) for image in images)
