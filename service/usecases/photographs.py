"""Photographs of a class that is registered: decoded and embedded as any image, and kept."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice

import numpy as np

from model import photographs
from model.errors import ImageError
from model.runtime.base import F32
from service.engine.generation import Generation
from service.errors import BodyTooLarge, RequestError, image_status
from service.registry.records import NewClass, PhotographsMean
from service.usecases.gathering import IMAGES_AT_ONCE, gathered


async def with_photographs(
    generation: Generation,
    workers: Executor,
    classes: Sequence[NewClass],
    files: Sequence[Sequence[bytes]],
    max_bytes: int,
) -> list[NewClass]:
    """Classes with what the network sees in their photographs.

    Args:
        workers: where pictures are encoded.
        files: of each class, as they came.
        max_bytes: of one.

    Raises:
        RequestError: one can't be used; with the index of its class.
        BodyTooLarge: one has more bytes; likewise.
        ServiceError, BatchError
    """
    at_once = asyncio.Semaphore(IMAGES_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def seen(index: int, place: int, data: bytes) -> tuple[bytes, F32]:
        if len(data) > max_bytes:
            detail = f"examples[{place}] has {len(data)} bytes; {max_bytes} are allowed"
            raise BodyTooLarge(detail, index=index)
        try:
            async with at_once:
                pixels = await generation.inference.decode(data)
                embedding = (await generation.inference.embed(pixels)).embedding
                kept = await loop.run_in_executor(workers, photographs.encoded, pixels)
                return kept, embedding
        except ImageError as error:
            detail = f"examples[{place}]: {error}"
            raise RequestError(image_status(error.code), error.code, detail, index=index) from error

    found = iter(
        await gathered(
            seen(index, place, file)
            for index, data in enumerate(files)
            for place, file in enumerate(data)
        )
    )
    return [
        _with(item, list(islice(found, len(data))), generation.bundle.sha256)
        for item, data in zip(classes, files, strict=True)
    ]


def _with(item: NewClass, found: Sequence[tuple[bytes, F32]], bundle: str) -> NewClass:
    """A class with its photographs, as they are kept and as the bundle's network sees them."""
    if not found:
        return item
    mean = photographs.mean_of(np.stack([embedding for _, embedding in found]))
    kept = tuple(photograph for photograph, _ in found)
    return replace(item, photographs=kept, mean=PhotographsMean(mean, bundle))
