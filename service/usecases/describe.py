"""Describe: images of one thing -> the sheet that they suggest."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import ImageError
from model.preprocess import Box
from model.runtime.base import F32
from service.engine.generation import Generation
from service.errors import RequestError, image_status
from service.usecases.gathering import IMAGES_AT_ONCE, gathered


@dataclass(frozen=True, eq=False)
class Description:
    """Of all images together, on the sheet's scale: (A,) each."""

    mean: F32
    spread: F32  # the standard deviation over the images; 0 of a single one


async def describe(
    generation: Generation, images: Sequence[bytes | RequestError], box: Box | None = None
) -> Description:
    """What the images say of each attribute, on average.

    Raises:
        RequestError: an image can't be used; with its index, if there are several.
        ServiceError, BatchError
    """
    at_once = asyncio.Semaphore(IMAGES_AT_ONCE)

    async def scores(index: int, image: bytes | RequestError) -> F32:
        try:
            if isinstance(image, RequestError):
                raise image
            async with at_once:
                return (await generation.inference.see(image, box)).attributes
        except (RequestError, ImageError) as error:
            if len(images) == 1:
                raise
            status = error.status if isinstance(error, RequestError) else image_status(error.code)
            detail = f"image {index + 1} of {len(images)}: {error}"
            raise RequestError(status, error.code, detail, index=index) from error

    rows = np.stack(await gathered(scores(i, image) for i, image in enumerate(images)))
    return Description(rows.mean(axis=0), rows.std(axis=0))
