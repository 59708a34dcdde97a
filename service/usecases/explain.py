"""Explain: an image and classes -> why each of them scored as it did, attribute by attribute.

An attribute's contribution is the Shapley value of its step from the seen classes' mean to what the
class's sheet says: what the step adds to the score, averaged over the orders in which the steps can
be made. A prototype is not linear in its sheet, so this is a mean over fixed random orders, each
with its reverse; in every one of them the steps add up to the whole exactly.

Source: Strumbelj and Kononenko, JMLR 11, 2010 (sampled orders); Mitchell et al., JMLR 23, 2022,
arXiv:2104.12199 (pairs of an order and its reverse).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from model import heatmap
from model.bundle import Manifest
from model.preprocess import Box
from model.runtime.base import F32, F64
from service.engine.generation import Generation
from service.errors import RequestError
from service.registry.records import ClassRecord

PAIRS = 8  # of an order and its reverse
# Numbers in the sheets of one call; with more attributes than about 700 there are fewer orders.
_LARGEST_CALL = 8_000_000

Prototypes = Callable[[F32], F32]


@dataclass(frozen=True)
class Contribution:
    name: str
    contribution: float  # to the logit
    image: float  # what the image shows, and
    sheet: float  # what the class asks, on the sheet's scale


@dataclass(frozen=True, eq=False)
class Explanation:
    """`base`, the logit of the seen classes' mean sheet, plus the contributions is `logit`."""

    class_id: str
    name: str
    logit: float
    base: float
    contributions: list[Contribution]  # the largest first, whatever its sign
    heat: F32  # (h, w), where the attributes were read that spoke for the class


@dataclass(frozen=True, eq=False)
class Explanations:
    """`maps` (T, h, w) say where each attribute token was read; each sums to 1."""

    classes: list[Explanation]
    maps: F32


class Explain:
    """The use case.

    Args:
        workers: where contributions are computed, off the event loop.
    """

    def __init__(self, workers: Executor) -> None:
        self._workers = workers

    async def explain(
        self,
        generation: Generation,
        collection: str,
        image: bytes,
        class_ids: Sequence[str],
        box: Box | None,
    ) -> Explanations:
        """Why the classes scored as they did in one look at an image.

        Raises:
            UnknownClass, StoreUnavailable
            model.errors.ImageError: not an image that can be used.
            ServiceError, BatchError
        """
        loop = asyncio.get_running_loop()
        records = await generation.collection(collection).look_all(class_ids)
        seen = await generation.inference.see(image, box)
        explained = [
            await loop.run_in_executor(
                self._workers,
                explanation,
                generation.bundle.manifest,
                generation.registry.prototypes_of(record),
                record,
                seen.embedding,
                seen.attributes,
                seen.maps,
            )
            for record in records
        ]
        return Explanations(explained, seen.maps)

    async def picture(
        self,
        generation: Generation,
        image: bytes,
        explanations: Explanations,
        attribute: str | None,
        box: Box | None,
        max_pixels: int,
    ) -> bytes:
        """A PNG: the first class's heat, or where one attribute was read, over the photograph.

        Raises:
            RequestError: there is no such attribute.
        """
        heat = explanations.classes[0].heat
        if attribute is not None:
            heat = explanations.maps[generation.space.tokens[position_of(generation, attribute)]]
        return await asyncio.get_running_loop().run_in_executor(
            self._workers, heatmap.overlay, image, heat, max_pixels, box
        )


def position_of(generation: Generation, attribute: str) -> int:
    """Raises: RequestError, 422 `unknown_attribute`."""
    found = generation.space.index.get(attribute)
    if found is None:
        raise RequestError(
            422,
            "unknown_attribute",
            f"no attribute is called {attribute[:100]!r}. See GET /attributes",
        )
    return found


def contributions(
    embedding: F32,
    sheet: F64,
    mean: F32,
    prototypes: Prototypes,
    temperature: float,
    pairs: int = PAIRS,
) -> tuple[float, F64]:
    """The logit of the mean sheet, and what each attribute's step to the sheet adds.

    Args:
        embedding: (D,), a unit row.
        sheet, mean: (A,).
        prototypes: (C, A) complete sheets -> (C, D) unit rows; called once.
        pairs: of orders, at most.

    Returns:
        base, and (A,): base + their sum is the sheet's own logit.
    """
    start, end = mean.astype(np.float32), sheet.astype(np.float32)
    # A step of no length adds nothing.
    moved = np.flatnonzero(start != end)
    values = np.zeros(len(start))
    if not len(moved):
        return float(prototypes(start[None])[0] @ embedding) / temperature, values
    draw = np.random.default_rng(0)
    pairs = max(1, min(pairs, _LARGEST_CALL // (2 * (len(moved) + 1) * len(start))))
    drawn = [draw.permutation(moved) for _ in range(pairs)]
    orders = [*drawn, *(order[::-1] for order in drawn)]
    steps = len(moved) + 1
    sheets = np.repeat(start[None], len(orders) * steps, axis=0).reshape(len(orders), steps, -1)
    for walk, order in zip(sheets, orders, strict=True):
        for step, attribute in enumerate(order):
            walk[step + 1 :, attribute] = end[attribute]
    rows = prototypes(sheets.reshape(-1, len(start)))
    logits = (rows.astype(np.float64) @ embedding.astype(np.float64)) / temperature
    for order, walked in zip(orders, logits.reshape(len(orders), steps), strict=True):
        values[order] += np.diff(walked)
    return float(logits[0]), values / len(orders)


def heat_of(values: F64, maps: F32, tokens: Sequence[int]) -> F32:
    """(h, w): the attribute maps (T, h, w), each as strong as what its attributes (A,) add."""
    weights = np.zeros(len(maps), np.float32)
    np.add.at(weights, np.asarray(tokens), values.clip(min=0).astype(np.float32))
    heat: F32 = np.tensordot(weights, maps, axes=1)
    return heat


def explanation(
    manifest: Manifest,
    prototypes: Prototypes,
    record: ClassRecord,
    embedding: F32,
    attributes: F32,
    maps: F32,
) -> Explanation:
    """Why a class scored as it did in one look at an image.

    Args:
        prototypes: of what the class would be with other sheets, as `contributions` takes them.
        embedding, attributes, maps: (D,), (A,) and (T, h, w), of the look.
    """
    space = manifest.attributes
    base, values = contributions(
        embedding, record.attributes, space.mean, prototypes, manifest.temperature
    )
    order = np.argsort(-np.abs(values), kind="stable")
    return Explanation(
        class_id=record.summary.class_id,
        name=record.summary.name,
        logit=base + float(values.sum()),
        base=base,
        contributions=[
            Contribution(
                space.names[i], float(values[i]), float(attributes[i]), float(record.attributes[i])
            )
            for i in order
        ],
        heat=heat_of(values, maps, space.tokens),
    )
