"""Decoding in a bounded pool of threads: off the event loop, before anything is queued."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from model import preprocess
from model.preprocess import Box
from model.runtime.base import U8


class Decoding:
    """Encoded images -> the network's input.

    Args:
        size: S.
        max_pixels: of one image.
        threads: that decode at the same time; others wait.
    """

    def __init__(self, size: int, max_pixels: int, threads: int) -> None:
        self._size = size
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(threads, "decode")

    async def decode(self, data: bytes, box: Box | None) -> U8:
        """(S, S, 3).

        Raises:
            model.errors.ImageError
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.here, data, box)

    def here(self, data: bytes, box: Box | None, helped: bool = False) -> U8:
        """`decode`, in the calling thread; `helped`: and in an idle one of the pool."""
        helper = self._pool if helped else None
        return preprocess.to_input(data, self._size, self._max_pixels, box, helper)

    def region(self, data: bytes, box: Box | None) -> Box:
        """What `here` shows of an image that it can decode, in pixels of the upright original."""
        return preprocess.region(data, self._max_pixels, box)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
