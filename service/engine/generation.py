"""`Generation`: everything that belongs to one bundle, built together and swapped together."""

import asyncio
from dataclasses import dataclass

import numpy as np

from model.bundle import Bundle
from model.runtime.base import Backend
from model.sheets import AttributeSpace
from service.engine.inference import Inference
from service.registry.collection import Collection
from service.registry.registry import Registry


@dataclass(frozen=True)
class Generation:
    """A request keeps the generation that admitted it until its answer.

    So no embedding of one bundle meets prototypes of another.
    """

    bundle: Bundle
    backend: Backend
    inference: Inference
    registry: Registry

    @property
    def space(self) -> AttributeSpace:
        return self.bundle.manifest.attributes

    def collection(self, name: str) -> Collection:
        """The classes of one collection."""
        return Collection(self.registry, name)

    async def warm_up(self) -> None:
        """Run the backend once through every part, and load the classes."""
        size = self.backend.info.input_size
        await self.inference.embed(np.zeros((size, size, 3), np.uint8))
        await asyncio.to_thread(self.registry.load)

    async def close(self, *, keep_store: bool = False) -> None:
        """Answer what is queued, then free everything, but for the store if others use it."""
        await self.inference.close()
        # Waits for a registration that runs.
        await asyncio.to_thread(self.registry.close, keep_store=keep_store)
        self.backend.close()
