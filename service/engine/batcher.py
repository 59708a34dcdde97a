"""Dynamic batching that never waits: a batch is whatever queued up while the lanes were busy.

Standard library only. All state belongs to the event loop's thread; a lane is a thread that runs
one batch at a time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class QueueFull(Exception):  # noqa: N818 - the name that asyncio and queue use
    """Too many items wait already; nothing was queued."""


class BatcherClosed(Exception):  # noqa: N818
    """No more items are taken."""


class BatchError(Exception):
    """The batch that held the item failed; the cause is its `__cause__`."""


class Observer(Protocol):
    """Is told of every batch that ended, from the event loop's thread."""

    def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
        """`waited_s` of each item before it ran; `cancelled` callers left before that."""
        ...


@dataclass(frozen=True)
class _Waiting(Generic[Item]):
    item: Item
    since: float


class Batcher(Generic[Item, Answer]):
    """Gathers single items into batches.

    Args:
        run: a batch of items -> one answer each, in order. It is called in lane threads.
        max_batch: items in a batch, at most.
        capacity: items that may wait.
        lanes: batches that may run at the same time.
        observer: is told of batches.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        max_batch: int,
        capacity: int,
        lanes: int = 1,
        observer: Observer | None = None,
    ) -> None:
        if min(max_batch, capacity, lanes) < 1:
            raise ValueError(f"max_batch={max_batch}, capacity={capacity}, lanes={lanes}: below 1")
        self._run = run
        self._max_batch = max_batch
        self._capacity = capacity
        self._lanes = ThreadPoolExecutor(lanes, "lane")
        self._idle = lanes
        self._lane_count = lanes
        self._observer = observer
        # In order of arrival; a caller that leaves takes its item out.
        self._queue: dict[asyncio.Future[Answer], _Waiting[Item]] = {}
        self._cancelled = 0
        self._closing = False
        self._drained = asyncio.Event()

    @property
    def depth(self) -> int:
        """Items that wait."""
        return len(self._queue)

    async def submit(self, item: Item) -> Answer:
        """Wait for an item's answer. Cancel it to leave the queue.

        Raises:
            QueueFull, BatcherClosed: at once.
            BatchError: the batch that held it failed.
        """
        if self._closing:
            raise BatcherClosed
        if len(self._queue) >= self._capacity:
            raise QueueFull
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer] = loop.create_future()
        self._queue[waiter] = _Waiting(item, time.monotonic())
        # Not at once: items that come in the same turn of the loop share a batch.
        loop.call_soon(self._dispatch)
        try:
            return await waiter
        finally:
            if self._queue.pop(waiter, None) is not None:
                self._cancelled += 1

    @property
    def is_spare(self) -> bool:
        """A lane is idle and nothing waits for it: no batch is to be had by queueing."""
        return self._idle > 0 and not self._queue and not self._closing

    async def straight(self, prepare: Callable[[], Item]) -> Answer:
        """Prepare an item and run it, both in an idle lane, with no change of threads between.

        For when the batcher `is_spare`, and at once: with no await between the two.

        Raises:
            BatchError: running it failed.
            Exception: what `prepare` raised.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer] = loop.create_future()
        self._idle -= 1
        future = loop.run_in_executor(self._lanes, self._prepared, prepare)
        future.add_done_callback(partial(self._finish_straight, waiter))
        return await waiter

    async def close(self) -> None:
        """Take nothing more, answer what is queued, and end the lanes."""
        self._closing = True
        self._settle()
        await self._drained.wait()
        self._lanes.shutdown()

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle and self._queue:
            waiters = list(self._queue)[: self._max_batch]
            batch = [self._queue.pop(waiter) for waiter in waiters]
            self._idle -= 1
            started = time.monotonic()
            waited = [started - waiting.since for waiting in batch]
            future = loop.run_in_executor(self._lanes, self._answers, [w.item for w in batch])
            future.add_done_callback(partial(self._finish, waiters, waited, started))

    def _answers(self, items: Sequence[Item]) -> Sequence[Answer]:
        """In a lane."""
        answers = self._run(items)
        if len(answers) != len(items):
            raise RuntimeError(f"a batch of {len(items)} items got {len(answers)} answers")
        return answers

    def _prepared(self, prepare: Callable[[], Item]) -> tuple[Answer, float]:
        """In a lane: the answer, and how long it took to run."""
        item = prepare()
        started = time.monotonic()
        try:
            (answer,) = self._answers([item])
        except Exception as error:
            raise BatchError("a batch of 1 failed") from error
        return answer, time.monotonic() - started

    def _finish_straight(
        self, waiter: asyncio.Future[Answer], future: asyncio.Future[tuple[Answer, float]]
    ) -> None:
        self._idle += 1
        if (error := future.exception()) is None:
            answer, ran_s = future.result()
            if not waiter.done():
                waiter.set_result(answer)
            self._observe([0.0], ran_s)
        else:
            if isinstance(error, BatchError):
                log.error("batch failed", extra={"size": 1}, exc_info=error.__cause__)
            if not waiter.done():
                waiter.set_exception(error)
        self._dispatch()
        self._settle()

    def _finish(
        self,
        waiters: Sequence[asyncio.Future[Answer]],
        waited_s: Sequence[float],
        started: float,
        future: asyncio.Future[Sequence[Answer]],
    ) -> None:
        ran_s = time.monotonic() - started
        self._idle += 1
        if future.cancelled() or (error := future.exception()) is not None:
            cause = None if future.cancelled() else error
            log.error("batch failed", extra={"size": len(waiters)}, exc_info=cause)
            for waiter in waiters:
                if not waiter.done():
                    failure = BatchError(f"a batch of {len(waiters)} failed")
                    failure.__cause__ = cause
                    waiter.set_exception(failure)
        else:
            for waiter, answer in zip(waiters, future.result(), strict=True):
                if not waiter.done():
                    waiter.set_result(answer)
        self._dispatch()
        self._settle()
        self._observe(waited_s, ran_s)

    def _observe(self, waited_s: Sequence[float], ran_s: float) -> None:
        if self._observer is not None:
            cancelled, self._cancelled = self._cancelled, 0
            self._observer.batch_ended(waited_s, ran_s, cancelled)

    def _settle(self) -> None:
        if self._closing and not self._queue and self._idle == self._lane_count:
            self._drained.set()
