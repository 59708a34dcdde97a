"""Images, one each, through the batcher to the backend."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from model.runtime.base import F32, U8, Backend
from service.engine.batcher import Batcher, BatcherClosed, Observer, QueueFull
from service.errors import NotReady, Overloaded


class Seen(NamedTuple):
    """What the network saw in one image."""

    embedding: F32  # (D,)
    attributes: F32  # (A,)


class Inference:
    """Args: those of `Batcher`, and the backend whose `embed` runs in its lanes."""

    def __init__(
        self,
        backend: Backend,
        *,
        max_batch: int,
        capacity: int,
        lanes: int,
        observer: Observer | None = None,
    ) -> None:
        self._backend = backend
        self._batcher: Batcher[U8, Seen] = Batcher(
            self._embed, max_batch=max_batch, capacity=capacity, lanes=lanes, observer=observer
        )

    @property
    def depth(self) -> int:
        return self._batcher.depth

    async def embed(self, image: U8) -> Seen:
        """(S, S, 3) -> what was seen.

        Raises:
            Overloaded, NotReady: the queue is full, or the service is closing.
            BatchError: the backend failed.
        """
        try:
            return await self._batcher.submit(image)
        except QueueFull as error:
            raise Overloaded("too many images wait already; try again") from error
        except BatcherClosed as error:
            raise NotReady("the service is shutting down") from error

    @property
    def is_spare(self) -> bool:
        """See `Batcher.is_spare`."""
        return self._batcher.is_spare

    async def straight(self, decode: Callable[[], U8]) -> Seen:
        """Decode and embed one image in an idle lane; see `Batcher.straight`."""
        return await self._batcher.straight(decode)

    async def close(self) -> None:
        await self._batcher.close()

    def _embed(self, images: Sequence[U8]) -> list[Seen]:
        embedded = self._backend.embed(np.stack(images))
        return [
            Seen(embedding, attributes)
            for embedding, attributes in zip(embedded.embedding, embedded.attributes, strict=True)
        ]
