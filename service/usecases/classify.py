"""Classify: an image and a question -> ranked classes."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import scoring
from model.bundle import Manifest
from model.errors import ImageError
from model.preprocess import Box
from model.runtime.base import F32, U8
from service.engine.generation import Generation
from service.errors import NoCandidates, RequestError, RevisionUnavailable
from service.metrics import Metrics
from service.registry.store import unknown_class
from service.registry.table import PrototypeTable

STRONGEST_ATTRIBUTES = 10
REVISION_WAIT_S = 1.0
REVISION_POLL_S = 0.05
# A request with many images doesn't fill the queue before the others' single ones.
IMAGES_AT_ONCE = 4
# Copying the rows of one class in so many, or of fewer, costs less than scoring all classes.
_FEW = 8
# Classes that are scored in less time than another thread takes to wake up.
_SMALL = 1000
_NO_PROBABILITY = 110.0  # exp(-110) is 0 in float32

Scope = Literal["all", "unseen", "seen"]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Question:
    """What is asked of an image; `gamma` None: the bundle's."""

    top_k: int = 5
    class_ids: tuple[str, ...] | None = None
    scope: Scope = "all"
    gamma: float | None = None
    min_revision: int = 0
    box: Box | None = None
    look: int = 1  # how often
    known_threshold: float | None = None  # in units of `score`; None: the bundle's


@dataclass(frozen=True)
class Prediction:
    class_id: str
    name: str
    score: float  # cosine / temperature, before gamma
    probability: float  # after gamma, over the candidates
    seen: bool


class Ranking(NamedTuple):
    """The best candidates; of all C of them the scores before gamma, and how much of it each pays
    (`PrototypeTable.familiarity`)."""

    predictions: list[Prediction]
    scores: F32
    familiarity: F32

    def is_known(self, manifest: Manifest, threshold: float | None = None) -> bool | None:
        """Whether even the best candidate is near enough; None where nothing says how near.

        Args:
            threshold: in units of a score after gamma; the bundle's when None.
        """
        if threshold is None:
            threshold = manifest.calibration.get("known_threshold")
        if threshold is None:
            return None
        # Under the bundle's own gamma: it is what the threshold was found with.
        scores = scoring.calibrated_stacking(self.scores, self.familiarity, manifest.gamma)
        return bool(scores.max() >= threshold)


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


def candidates(
    table: PrototypeTable, class_ids: Sequence[str] | None, scope: Scope
) -> Positions | None:
    """The positions that a question is about; None stands for all.

    Raises:
        UnknownClass: an id that no class has.
        NoCandidates: nothing is left.
    """
    if class_ids is None and scope == "all" and len(table):
        return None
    if class_ids is None:
        # `all` comes here of an empty table alone.
        positions = np.flatnonzero(table.is_seen == (scope == "seen"))
    else:
        found = []
        for class_id in dict.fromkeys(class_ids):
            if (position := table.find(class_id)) is None:
                raise unknown_class(class_id)
            found.append(position)
        positions = np.array(found, np.intp)
        if scope != "all":
            positions = positions[table.is_seen[positions] == (scope == "seen")]
    if not len(positions):
        among = "classes" if class_ids is None else "classes of `classes`"
        kind = "" if scope == "all" else f"{scope} "
        raise NoCandidates(
            f"there are no {kind}{among} to choose from. POST /classes registers unseen ones; "
            "scope=all asks for both"
        )
    return positions


def rank(
    embedding: F32,
    table: PrototypeTable,
    positions: Positions | None,
    temperature: float,
    gamma: float,
    top_k: int,
) -> Ranking:
    """Score one embedding (D,) against the candidates; the best `top_k` after gamma, best first."""
    logits = _logits(embedding, table, positions, temperature)
    familiarity = table.familiarity if positions is None else table.familiarity[positions]
    # Beyond this, gamma only takes digits from float32: one side has no probability left.
    limit = 2 / temperature + _NO_PROBABILITY
    calibrated = scoring.calibrated_stacking(logits, familiarity, min(max(gamma, -limit), limit))
    probabilities = scoring.softmax(calibrated)
    predictions = []
    for index in scoring.top_k(calibrated, top_k):
        item = table.at(int(index if positions is None else positions[index]))
        predictions.append(
            Prediction(
                class_id=item.class_id,
                name=item.name,
                score=float(logits[index]),
                probability=float(probabilities[index]),
                seen=item.seen,
            )
        )
    return Ranking(predictions, logits, familiarity)


def _logits(
    embedding: F32, table: PrototypeTable, positions: Positions | None, temperature: float
) -> F32:
    """(D,) -> the logits of the candidates, in their order."""
    row = embedding[None, :]
    if positions is not None and len(positions) * _FEW < len(table):
        few: F32 = scoring.cosine_logits(row, table.take(positions), temperature)[0]
        return few
    logits: F32 = table.of_classes(scoring.cosine_logits(row, table.rows, temperature)[0])
    return logits if positions is None else logits[positions]


def strongest(attributes: F32, names: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The attributes (A,) that score highest, best first."""
    return [(names[i], float(attributes[i])) for i in scoring.top_k(attributes, count)]


class Classify:
    """The use case. Decoding and inference leave the event loop, and scoring of many classes.

    Args:
        workers: where scoring runs.
        metrics: is told how long decoding took.
    """

    def __init__(self, workers: Executor, metrics: Metrics) -> None:
        self._workers = workers
        self._metrics = metrics

    async def field(self, generation: Generation, question: Question) -> Field:
        """Take the snapshot that a request will be scored on.

        Raises:
            UnknownClass, NoCandidates
            RevisionUnavailable: `min_revision` didn't come in time.
        """
        table = await self.table(generation, question.min_revision)
        if question.class_ids is None and (question.scope == "all" or len(table) <= _SMALL):
            return Field(table, candidates(table, None, question.scope))
        positions = await asyncio.get_running_loop().run_in_executor(
            self._workers, candidates, table, question.class_ids, question.scope
        )
        return Field(table, positions)

    async def table(self, generation: Generation, min_revision: int) -> PrototypeTable:
        """A snapshot that is no older than a revision.

        Raises:
            RevisionUnavailable: it didn't come in time.
        """
        registry = generation.registry
        if registry.table.revision >= min_revision:
            return registry.table
        try:
            async with asyncio.timeout(REVISION_WAIT_S):
                while True:
                    await registry.catch_up()
                    if registry.table.revision >= min_revision:
                        return registry.table
                    await asyncio.sleep(REVISION_POLL_S)
        except TimeoutError as error:
            raise RevisionUnavailable(
                f"the registry is at revision {registry.table.revision}, before {min_revision}; "
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
        self._metrics.image_decoded(seen.decode_s)
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

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(guarded(image)) for image in images]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [task.result() for task in tasks]
