"""Photographs of a class that is registered: decoded and embedded as any image, and kept."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from model import photographs
from model.errors import ImageError
from model.runtime.base import F32
from service.engine.generation import Generation
from service.errors import RequestError
from service.registry.records import NewClass, PhotographsMean
from service.usecases.classify import IMAGES_AT_ONCE


async def with_photographs(
    generation: Generation,
    workers: Executor,
    classes: Sequence[NewClass],
    files: Sequence[Sequence[bytes]],
) -> list[NewClass]:
    """Classes with what the network sees in their photographs.

    Args:
        workers: where pictures are encoded.
        files: of each class, as they came.

    Raises:
        RequestError: one can't be used; with the index of its class.
        ServiceError, BatchError
    """
    at_once = asyncio.Semaphore(IMAGES_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def seen(index: int, place: int, data: bytes) -> tuple[bytes, F32]:
        try:
            async with at_once:
                pixels = await generation.inference.decode(data)
                embedding = (await generation.inference.embed(pixels)).embedding
                kept = await loop.run_in_executor(workers, photographs.encoded, pixels)
                return kept, embedding
        except ImageError as error:
            detail = f"examples[{place}]: {error}"
            raise RequestError(422, error.code, detail, index=index) from error

    async def whole(index: int, item: NewClass, data: Sequence[bytes]) -> NewClass:
        if not data:
            return item
        found = await asyncio.gather(*(seen(index, i, file) for i, file in enumerate(data)))
        mean = photographs.mean_of(np.stack([embedding for _, embedding in found]))
        return replace(
            item,
            photographs=tuple(kept for kept, _ in found),
            mean=PhotographsMean(mean, generation.bundle.sha256),
        )

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(whole(i, item, data))
                for i, (item, data) in enumerate(zip(classes, files, strict=True))
            ]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]
