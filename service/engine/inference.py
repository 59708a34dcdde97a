"""Images, one each, through decoding and the batcher to the backend."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model import look
from model.errors import ImageError
from model.preprocess import Box
from model.runtime.base import F32, U8, Backend, SharesThreads
from service import tracing
from service.engine.batcher import Batcher, BatcherClosed, Observer, QueueFull
from service.engine.cpus import seats
from service.engine.decoding import Decoding
from service.errors import NotReady, Overloaded
from service.tracing import Interval

# A larger file would keep the others of its batch waiting for its pixels.
_LIGHT_BYTES = 2**20
# Images that a lane on a CPU takes at once, if so many wait, whatever number it embeds at once: the
# fewer changes of threads, the less time all of them take.
_HANDED = 8


class Seen(NamedTuple):
    """What the network saw in one image, and how long it took to decode."""

    embedding: F32  # (D,)
    attributes: F32  # (A,)
    maps: F32  # (T, h, w)
    decode_s: float
    window: look.Window | None = None  # where to look again, if that was asked


@dataclass(frozen=True)
class Encoded:
    """An image as it came."""

    data: bytes
    box: Box | None
    looks: int = 1  # that it is to get


@dataclass(frozen=True)
class Pixels:
    """An image as the network takes it, (S, S, 3)."""

    array: U8
    decoding: Interval | None = None
    origin: Encoded | None = None

    @property
    def decode_s(self) -> float:
        return self.decoding[1] - self.decoding[0] if self.decoding else 0.0


class Times(NamedTuple):
    """Of an image's way through a lane, by `time.perf_counter`."""

    taken: float  # by the lane
    decoding: Interval | None  # None: it came as pixels
    inference: Interval
    batch: int  # images that were embedded together


class Inference:
    """From bytes to what the network sees.

    On a CPU the lanes decode as well: as many threads as there are CPUs do all the work, and an
    image changes threads once. Large files, and all images of a GPU, are decoded in a pool before
    they queue up.

    Args:
        backend: its `embed` runs in the batcher's lanes.
        decoding: the pool; closed with this.
        embedded: is told of each batch that the backend answered: images, seconds; in a lane.
        decoded: is told of each image that was decoded: seconds; in a lane or the event loop.
        max_batch: images that the backend embeds at once, at most.
        capacity, lanes, observer: those of `Batcher`.
    """

    def __init__(
        self,
        backend: Backend,
        decoding: Decoding,
        *,
        max_batch: int,
        capacity: int,
        lanes: int,
        observer: Observer | None = None,
        embedded: Callable[[int, float], None] = lambda _count, _seconds: None,
        decoded: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._backend = backend
        self._decoding = decoding
        self._embedded = embedded
        self._decoded = decoded
        self._lanes_decode = backend.info.device == "cpu"
        self._max_batch = max_batch
        self._embed_beside = (
            backend.embed_beside if isinstance(backend, SharesThreads) else backend.embed
        )
        self._batcher: Batcher[Encoded | Pixels, tuple[Seen, Times]] = Batcher(
            self._run,
            max_batch=max(max_batch, _HANDED) if self._lanes_decode else max_batch,
            capacity=capacity,
            lanes=lanes,
            observer=observer,
            prepare=[seat.take for seat in seats(lanes)] if self._lanes_decode else (),
        )

    @property
    def at_work_s(self) -> float:
        """For how long the oldest batch has been at work, in seconds; 0: none is."""
        return self._batcher.at_work_s

    async def see(self, data: bytes, box: Box | None = None, looks: int = 1) -> Seen:
        """Decode and embed an image file.

        Args:
            box: the part to look at.
            looks: 2 looks again, at the window that the first look found, unless that is all of it.
                The answer is of both and says where that was; its `decode_s` is the sum.

        Raises:
            model.errors.ImageError: it can't be used.
            Overloaded, NotReady: the queue is full, or the service is closing.
            BatchError: the backend failed.
        """
        first = await self._look(Encoded(data, box, looks))
        window = first.window
        # All of the first look once more would say nothing new.
        if window is None or window.share == 1:
            return first
        return _together(first, await self._look(Encoded(data, window.box)), window)

    async def embed(self, image: U8) -> Seen:
        """Embed pixels (S, S, 3); raises what `see` raises."""
        return await self._submit(Pixels(image))

    async def decode(self, data: bytes) -> U8:
        """An image file -> pixels (S, S, 3), for `embed`.

        Raises:
            model.errors.ImageError: it can't be used.
        """
        started = time.perf_counter()
        array = await self._decoding.decode(data, None)
        tracing.current.get().add("decode", self._decoded_since(started))
        return array

    async def close(self) -> None:
        """Answer what is queued."""
        await self._batcher.close()
        # An image whose client left may still be decoded.
        await asyncio.to_thread(self._decoding.close)

    async def _look(self, image: Encoded) -> Seen:
        if self._lanes_decode and len(image.data) <= _LIGHT_BYTES:
            return await self._submit(image)
        started = time.perf_counter()
        array = await self._decoding.decode(image.data, image.box)
        return await self._submit(Pixels(array, self._decoded_since(started), image))

    async def _submit(self, image: Encoded | Pixels) -> Seen:
        queued = time.perf_counter()
        try:
            seen, times = await self._batcher.submit(image)
        except QueueFull as error:
            raise Overloaded("too many images wait already; try again") from error
        except BatcherClosed as error:
            raise NotReady("the service is shutting down") from error
        _note(times, queued)
        return seen

    def _run(self, images: Sequence[Encoded | Pixels]) -> list[tuple[Seen, Times] | Exception]:
        """In a lane; an image that can't be decoded fails alone."""
        taken = time.perf_counter()
        decoded = [self._pixels(image) for image in images]
        good = [image for image in decoded if isinstance(image, Pixels)]
        seen = iter(self._seen(good, taken) if good else ())
        return [next(seen) if isinstance(image, Pixels) else image for image in decoded]

    def _pixels(self, image: Encoded | Pixels) -> Pixels | ImageError:
        if isinstance(image, Pixels):
            return image
        started = time.perf_counter()
        try:
            alone = not self._batcher.is_crowded
            array = self._decoding.here(image.data, image.box, helped=alone)
        except ImageError as error:
            return error
        return Pixels(array, self._decoded_since(started), image)

    def _decoded_since(self, started: float) -> Interval:
        """The time of a decoding that has just ended, once it is told."""
        ended = time.perf_counter()
        self._decoded(ended - started)
        return started, ended

    def _seen(self, images: Sequence[Pixels], taken: float) -> list[tuple[Seen, Times]]:
        seen: list[tuple[Seen, Times]] = []
        for start in range(0, len(images), self._max_batch):
            seen += self._one_batch(images[start : start + self._max_batch], taken)
        return seen

    def _one_batch(self, images: Sequence[Pixels], taken: float) -> list[tuple[Seen, Times]]:
        arrays = [image.array for image in images]
        batch = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
        started = time.perf_counter()
        embed = self._embed_beside if self._batcher.is_crowded else self._backend.embed
        found = embed(batch)
        ended = time.perf_counter()
        self._embedded(len(images), ended - started)
        return [
            (
                Seen(
                    embedding,
                    attributes,
                    maps,
                    image.decode_s,
                    self._window(fine, coarse, image.origin),
                ),
                Times(taken, image.decoding, (started, ended), len(images)),
            )
            for embedding, attributes, maps, fine, coarse, image in zip(*found, images, strict=True)
        ]

    def _window(self, fine: F32, coarse: F32, origin: Encoded | None) -> look.Window | None:
        if origin is None or origin.looks == 1:
            return None
        view = self._decoding.region(origin.data, origin.box)
        return look.window(look.foreground(fine, coarse), view)


def _together(first: Seen, second: Seen, window: look.Window) -> Seen:
    """One answer of two looks at one image; its maps are the first one's, of the whole."""
    return Seen(
        look.combined(first.embedding, second.embedding, window.share),
        look.mean(first.attributes, second.attributes, window.share),
        first.maps,
        first.decode_s + second.decode_s,
        window,
    )


def _note(times: Times, queued: float) -> None:
    """The steps of one look, in the trace of the request that asked for it."""
    trace = tracing.current.get()
    trace.add("queue", (queued, times.taken))
    if times.decoding is not None:
        trace.add("decode", times.decoding)
    trace.add("inference", times.inference, {"umzero.batch_size": times.batch})
