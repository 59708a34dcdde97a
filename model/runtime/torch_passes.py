"""Passes over batches of a few fixed sizes, from several threads at once, on a CPU or on CUDA.

A batch is padded to the next size and the answer is cut. On CUDA each size is a CUDA graph,
recorded once: a small network's kernels are shorter than what it takes to start them one by one,
and a graph starts them all with one call. `torch.compile` would fuse some of them too, but needs a
compiler where the service runs, and compiles at every start.

Each caller holds a slot with a stream, host buffers (pinned on CUDA) and graphs of its own, so that
one caller's copies run beside another's kernels.

The CUDA path has not been measured, nor run anywhere yet: tests/gpu has its tests.
"""

import logging
import queue
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import DeviceOutOfMemory
from model.runtime.base import F32, U8

log = logging.getLogger(__name__)

Network = Callable[[Tensor], tuple[Tensor, ...]]

SIZES = (1, 2, 4, 8, 16, 32, 64)
SLOTS = 2
_WARM_UPS = 3  # cuDNN and Triton choose their kernels, which can't be done while recording


class Passes:
    """Runs a network over any number of images.

    Args:
        network: (B, S, S, 3) uint8 on the device -> tensors (B, ...).
        shape: (S, S, 3).
        sizes: of batches, ascending; by default `SIZES` on CUDA and every size up to 64 on a CPU,
            which gains nothing from padding.
        slots: how many callers run at the same time on CUDA; others wait. On a CPU nobody waits.

    Raises:
        DeviceOutOfMemory: the device hasn't the memory for a single image.
    """

    def __init__(
        self,
        network: Network,
        shape: tuple[int, int, int],
        device: torch.device,
        *,
        sizes: Sequence[int] | None = None,
        slots: int = SLOTS,
    ) -> None:
        on_cuda = device.type == "cuda"
        self._make: Callable[[], _Slot] = partial(_Slot, network, shape, device)
        self._device = device
        self._sizes = tuple(sizes or (SIZES if on_cuda else range(1, SIZES[-1] + 1)))
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        if on_cuda:
            for _ in range(slots):
                self._record(self._make())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of batches; those that the device hasn't the memory for are left out."""
        return self._sizes

    def run(self, images: U8) -> list[F32]:
        """(B, S, S, 3), B >= 1 -> arrays (B, ...).

        Raises:
            DeviceOutOfMemory: there isn't the memory for a single image.
        """
        largest = self._sizes[-1]
        starts = range(0, len(images), largest)
        return _joined([self._one(images[start : start + largest]) for start in starts])

    def _one(self, images: U8) -> list[F32]:
        size = next(size for size in self._sizes if size >= len(images))
        try:
            slot = self._take()
            try:
                return slot.run(images, size)
            finally:
                self._free.put(slot)
        except torch.OutOfMemoryError as error:
            if len(images) == 1:
                raise _no_memory(self._device) from error
        # Not in the handler: there, the error's traceback still holds the failed pass's tensors.
        log.warning("out of memory; halving", extra={"size": len(images)})
        _empty_cache(self._device)
        half = len(images) // 2
        return _joined([self._one(images[:half]), self._one(images[half:])])

    def _take(self) -> "_Slot":
        if self._device.type == "cuda":
            return self._free.get()
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return self._make()

    def _record(self, slot: "_Slot") -> None:
        """Record all sizes, the largest first: the smaller ones fit into its memory."""
        for size in reversed(self._sizes):
            try:
                slot.record(size)
            except torch.OutOfMemoryError:
                log.warning("no memory for batches of this size", extra={"size": size})
                self._sizes = tuple(other for other in self._sizes if other < size)
            _empty_cache(self._device)
        if not self._sizes:
            raise _no_memory(self._device)
        self._free.put(slot)


class _Slot:
    """Everything that one caller at a time needs."""

    def __init__(self, network: Network, shape: tuple[int, int, int], device: torch.device) -> None:
        self._network, self._shape, self._device = network, shape, device
        self._passes: dict[int, _Pass] = {}
        on_cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_cuda else None  # type: ignore[no-untyped-call]
        # Its graphs never run at the same time, so they share their memory.
        self._memory = torch.cuda.graph_pool_handle() if on_cuda else None

    def run(self, images: U8, size: int) -> list[F32]:
        if size not in self._passes:
            self._passes[size] = self._new(size)
        return self._passes[size].run(images)

    def record(self, size: int) -> None:
        self._passes[size] = self._new(size)
        self._passes[size].record(self._memory)

    def _new(self, size: int) -> "_Pass":
        return _Pass(self._network, (size, *self._shape), self._device, self._stream)


class _Pass:
    """One size: its buffers, and on CUDA its graph. All of it in inference mode."""

    @torch.inference_mode()
    def __init__(
        self,
        network: Network,
        shape: tuple[int, int, int, int],
        device: torch.device,
        stream: torch.cuda.Stream | None,
    ) -> None:
        self._network, self._stream = network, stream
        on_cuda = stream is not None
        self._host = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_cuda)
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, ...] = ()
        # Blocking: a waiting lane leaves the CPU to the others.
        self._done = torch.cuda.Event(blocking=True) if on_cuda else None  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def record(self, memory: Any) -> None:
        """Record the graph. A network that can't be recorded is run kernel by kernel instead."""
        stream = self._stream
        assert stream is not None
        torch.cuda.synchronize(stream.device)  # the weights come from another stream
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._network(self._images)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                graph, pool=memory, stream=stream, capture_error_mode="thread_local"
            ):
                outputs = self._network(self._images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            log.exception("no CUDA graph", extra={"size": len(self._images)})
            return
        self._graph, self._outputs = graph, tuple(outputs)

    @torch.inference_mode()
    def run(self, images: U8) -> list[F32]:
        count = len(images)
        host = self._host.numpy()
        host[:count] = images
        host[count:] = 0
        with _on(self._stream):
            self._images.copy_(self._host, non_blocking=True)
            if self._graph is None:
                outputs = tuple(self._network(self._images))
            else:
                self._graph.replay()
                outputs = self._outputs
            answers = [self._fetch(output[:count]) for output in outputs]
            if self._done is not None:
                self._done.record()
        if self._done is not None:
            self._done.synchronize()
        return [answer.numpy() for answer in answers]

    def _fetch(self, output: Tensor) -> Tensor:
        """Starts the copy; on CUDA it is there when `done` is. The allocator of pinned memory keeps
        what it gave, so this asks the driver only the first times."""
        if self._stream is None:
            return output.float().contiguous()
        pinned = torch.empty(output.shape, dtype=torch.float32, pin_memory=True)
        return pinned.copy_(output, non_blocking=True)


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def _joined(parts: Sequence[list[F32]]) -> list[F32]:
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _empty_cache(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _no_memory(device: torch.device) -> DeviceOutOfMemory:
    return DeviceOutOfMemory(
        f"{device} hasn't the memory for a single image; free some, or use another device"
    )
