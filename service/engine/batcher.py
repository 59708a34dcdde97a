"""Dynamic batching that never waits: a batch is whatever queued up while the lanes were busy.

Standard library only. A lane is a thread that runs one batch at a time. It takes the next one by
itself: were it to wait for the event loop, which competes with all lanes for the interpreter, it
would stand idle. What they share is guarded by a lock; callers' futures are the event loop's alone.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Batch(Generic[Item, Answer]):
    loop: asyncio.AbstractEventLoop
    waiters: Sequence["asyncio.Future[Answer]"]
    items: Sequence[Item]
    waited_s: Sequence[float]


class _Lane(threading.Thread, Generic[Item, Answer]):
    """Runs what is put into `todo`, and what `work` returns to go on with, until it is given None.

    An executor would do the same with a future, a lock and two callbacks more for each batch.
    """

    def __init__(
        self,
        number: int,
        prepare: Callable[[bool], None] | None,
        work: Callable[["_Lane[Item, Answer]", _Batch[Item, Answer]], _Batch[Item, Answer] | None],
    ) -> None:
        super().__init__(name=f"lane_{number}", daemon=True)
        self.prepare = prepare
        self.since: float | None = None  # when the batch that it is at began
        self.todo: SimpleQueue[_Batch[Item, Answer] | None] = SimpleQueue()
        self._work = work

    def run(self) -> None:
        while (batch := self.todo.get()) is not None:
            following: _Batch[Item, Answer] | None = batch
            while following is not None:
                following = self._work(self, following)


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
            _Lane(number, prepare[number] if prepare else None, self._work)
            for number in range(lanes)
        ]
        self._lock = threading.Lock()  # of the three below
        # The lane that was busy last is the first to work again: its caches are warm.
        self._idle = self._lanes[::-1]
        # In order of arrival; a caller that leaves takes its item out.
        self._queue: dict[asyncio.Future[Answer], _Waiting[Item]] = {}
        self._cancelled = 0
        self._observer = observer
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
    def at_work_s(self) -> float:
        """For how long the oldest batch has been at work, in seconds; 0: none is. May be read in
        any thread."""
        since = [since for lane in self._lanes if (since := lane.since) is not None]
        return time.monotonic() - min(since) if since else 0.0

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
        with self._lock:
            self._queue[waiter] = _Waiting(item, time.monotonic())
        # Not at once: items that come in the same turn of the loop share a batch.
        loop.call_soon(self._dispatch)
        try:
            return await waiter
        finally:
            with self._lock:
                self._cancelled += self._queue.pop(waiter, None) is not None

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
        with self._lock:
            while self._idle and (batch := self._next(loop)) is not None:
                self._idle.pop().todo.put(batch)

    def _next(self, loop: asyncio.AbstractEventLoop) -> _Batch[Item, Answer] | None:
        """What a lane is to do now; the lock must be held."""
        # A lane takes its share of what waits, so that the next one to end finds something, too,
        # and doesn't stand idle while its answers travel and new items come.
        share = min(math.ceil(len(self._queue) / len(self._lanes)), self._max_batch)
        if not share:
            return None
        waiters = list(islice(self._queue, share))
        batch = [self._queue.pop(waiter) for waiter in waiters]
        now = time.monotonic()
        return _Batch(loop, waiters, [w.item for w in batch], [now - w.since for w in batch])

    def _answers(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        answers = self._run(items)
        if len(answers) != len(items):
            raise RuntimeError(f"a batch of {len(items)} items got {len(answers)} answers")
        return answers

    def _work(
        self, lane: _Lane[Item, Answer], batch: _Batch[Item, Answer]
    ) -> _Batch[Item, Answer] | None:
        """In a lane: run a batch, hand its answers over, and say what comes next."""
        started = lane.since = time.monotonic()
        answers: Sequence[Answer | Exception] | BaseException
        try:
            if lane.prepare is not None:
                lane.prepare(self.is_crowded)
            answers = self._answers(batch.items)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the lane goes on
            answers = error
        ran_s = time.monotonic() - started
        with self._lock:
            following = self._next(batch.loop)
            if following is None:
                lane.since = None
                self._idle.append(lane)
        try:
            batch.loop.call_soon_threadsafe(self._finish, batch, answers, ran_s)
        except RuntimeError:
            log.warning("a batch outlived its event loop", extra={"size": len(batch.items)})
        return following

    def _finish(
        self,
        batch: _Batch[Item, Answer],
        answers: Sequence[Answer | Exception] | BaseException,
        ran_s: float,
    ) -> None:
        waiters = batch.waiters
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
            with self._lock:
                cancelled, self._cancelled = self._cancelled, 0
            self._observer.batch_ended(batch.waited_s, ran_s, cancelled)

    def _settle(self) -> None:
        if self._closing and not self._queue and not self.busy:
            self._drained.set()
