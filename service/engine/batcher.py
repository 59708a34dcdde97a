"""Dynamic batching that never waits: a batch is whatever queued up while the lanes were busy.

Standard library only. All state belongs to the event loop's thread; a lane is a thread that runs
one batch at a time.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import SimpleQueue
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


class _Lane(threading.Thread):
    """Runs what is put into `todo`, until that is None.

    An executor would do the same with a future, a lock and two callbacks more for each batch.
    """

    def __init__(self, number: int, prepare: Callable[[bool], None] | None) -> None:
        super().__init__(name=f"lane_{number}", daemon=True)
        self.prepare = prepare
        self.todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self) -> None:
        while (work := self.todo.get()) is not None:
            work()


class Batcher(Generic[Item, Answer]):
    """Gathers single items into batches.

    Args:
        run: a batch of items -> one answer each, in order; an exception in place of an answer
            fails that item alone. It is called in lane threads.
        max_batch: items in a batch, at most.
        capacity: items that may wait.
        lanes: batches that may run at the same time.
        observer: is told of batches.
        prepare: for each lane, or for none: called in it before each batch, with whether others
            are at work or wait.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        *,
        max_batch: int,
        capacity: int,
        lanes: int = 1,
        observer: Observer | None = None,
        prepare: Sequence[Callable[[bool], None]] = (),
    ) -> None:
        if min(max_batch, capacity, lanes) < 1:
            raise ValueError(f"max_batch={max_batch}, capacity={capacity}, lanes={lanes}: below 1")
        self._run = run
        self._max_batch = max_batch
        self._capacity = capacity
        self._lanes = [
            _Lane(number, prepare[number] if prepare else None) for number in range(lanes)
        ]
        # The lane that was busy last is the first to work again: its caches are warm.
        self._idle = self._lanes[::-1]
        self._observer = observer
        # In order of arrival; a caller that leaves takes its item out.
        self._queue: dict[asyncio.Future[Answer], _Waiting[Item]] = {}
        self._cancelled = 0
        self._closing = False
        self._drained = asyncio.Event()
        for lane in self._lanes:
            lane.start()

    @property
    def depth(self) -> int:
        """Items that wait."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Lanes at work. May be read in any thread."""
        return len(self._lanes) - len(self._idle)

    @property
    def is_crowded(self) -> bool:
        """Several lanes are at work, or items wait. May be read in any thread."""
        return self.busy > 1 or bool(self._queue)

    async def submit(self, item: Item) -> Answer:
        """Wait for an item's answer. Cancel it to leave the queue.

        Raises:
            QueueFull, BatcherClosed: at once.
            BatchError: the batch that held it failed.
            Exception: what `run` gave in place of its answer.
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

    async def close(self) -> None:
        """Take nothing more, answer what is queued, and end the lanes."""
        self._closing = True
        self._settle()
        await self._drained.wait()
        for lane in self._lanes:
            lane.todo.put(None)
        for lane in self._lanes:
            lane.join()

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle and self._queue:
            # A lane takes its share of what waits, so that the next one to end finds something,
            # too, and doesn't stand idle while its answers travel and new items come.
            share = min(math.ceil(len(self._queue) / len(self._lanes)), self._max_batch)
            waiters = list(islice(self._queue, share))
            batch = [self._queue.pop(waiter) for waiter in waiters]
            started = time.monotonic()
            waited = [started - waiting.since for waiting in batch]
            lane = self._idle.pop()
            items = [waiting.item for waiting in batch]
            lane.todo.put(partial(self._work, loop, lane, waiters, items, waited))

    def _answers(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        answers = self._run(items)
        if len(answers) != len(items):
            raise RuntimeError(f"a batch of {len(items)} items got {len(answers)} answers")
        return answers

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        lane: _Lane,
        waiters: Sequence[asyncio.Future[Answer]],
        items: Sequence[Item],
        waited_s: Sequence[float],
    ) -> None:
        """In a lane."""
        started = time.monotonic()
        answers: Sequence[Answer | Exception] | BaseException
        try:
            if lane.prepare is not None:
                lane.prepare(self.is_crowded)
            answers = self._answers(items)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the lane goes on
            answers = error
        ran_s = time.monotonic() - started
        try:
            loop.call_soon_threadsafe(self._finish, lane, waiters, answers, waited_s, ran_s)
        except RuntimeError:
            log.warning("a batch outlived its event loop", extra={"size": len(items)})

    def _finish(
        self,
        lane: _Lane,
        waiters: Sequence[asyncio.Future[Answer]],
        answers: Sequence[Answer | Exception] | BaseException,
        waited_s: Sequence[float],
        ran_s: float,
    ) -> None:
        self._idle.append(lane)
        # Before anything else: the lane needs no answer to be told to go on.
        self._dispatch()
        if isinstance(answers, BaseException):
            log.error("batch failed", extra={"size": len(waiters)}, exc_info=answers)
            cause = answers
            answers = []
            for _ in waiters:
                failure = BatchError(f"a batch of {len(waiters)} failed")
                failure.__cause__ = cause
                answers.append(failure)
        for waiter, answer in zip(waiters, answers, strict=True):
            if waiter.done():
                continue
            if isinstance(answer, Exception):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)
        self._settle()
        if self._observer is not None:
            cancelled, self._cancelled = self._cancelled, 0
            self._observer.batch_ended(waited_s, ran_s, cancelled)

    def _settle(self) -> None:
        if self._closing and not self._queue and not self.busy:
            self._drained.set()
