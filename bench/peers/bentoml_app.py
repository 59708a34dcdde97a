"""BentoML: one image at a time, or, with BENCH_BATCH above 1, with its adaptive batching."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.exceptions import InvalidArgument
from bentoml.validators import ContentType
from common import CPUS, QUEUE, ImageError, Model, chosen
from numpy.typing import NDArray

# The best of `plans.py` on 2 CPUs. Adaptive batching sends each image on to another process; some
# requests then ended with a 500, because that one had disconnected.
WORKERS = chosen("WORKERS", CPUS)
THREADS = chosen("THREADS", 1)
BATCH = chosen("BATCH", 1)
QUIET = {"access": {"enabled": False}}

Jpeg = Annotated[Path, ContentType("image/jpeg")]


@bentoml.service(
    workers=WORKERS,
    logging=QUIET,
    traffic={"timeout": 30, "max_concurrency": QUEUE},
)
class Alone:
    """Each worker takes one image at a time."""

    def __init__(self) -> None:
        self.model = Model(THREADS)

    @bentoml.api
    def classify(self, image: Jpeg, /) -> dict[str, Any]:
        try:
            return self.model.classify(image.read_bytes())
        except ImageError as error:
            raise InvalidArgument(str(error)) from error


@bentoml.service(workers=WORKERS, logging=QUIET, traffic={"timeout": 30})
class Ranker:
    """Images (B, S, S, 3), in batches; an API that batches takes and gives lists."""

    def __init__(self) -> None:
        self.model = Model(THREADS)

    @bentoml.api(batchable=True, max_batch_size=max(2, BATCH), max_latency_ms=10_000)
    def rank(self, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
        return self.model.rank(list(images))


@bentoml.service(logging=QUIET, traffic={"timeout": 30, "max_concurrency": QUEUE})
class Batched:
    """Decodes, and hands each image to the service that batches, in another process."""

    ranker = bentoml.depends(Ranker)

    def __init__(self) -> None:
        self.model = Model(1)

    @bentoml.api
    async def classify(self, image: Jpeg, /) -> dict[str, Any]:
        try:
            pixels = await asyncio.to_thread(self.model.decode, image.read_bytes())
        except ImageError as error:
            raise InvalidArgument(str(error)) from error
        answers: list[dict[str, Any]] = await self.ranker.to_async.rank(pixels[None])
        return answers[0]


classify = Batched if BATCH > 1 else Alone
