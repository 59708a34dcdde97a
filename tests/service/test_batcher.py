"""The batcher: work-conserving, bounded, and alive whatever its batches do."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest

from service.engine.batcher import Batcher, BatcherClosed, BatchError, QueueFull


class Gate:
    """A batch function that runs when it is let; it doubles numbers, and remembers batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self._let = threading.Semaphore(0)

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.release()
        assert self._let.acquire(timeout=20)
        return [2 * item for item in items]

    def let(self, batches: int = 1) -> None:
        self._let.release(batches)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, True, 20)


class Ledger:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.cancelled = 0

    def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
        self.sizes.append(len(waited_s))
        self.cancelled += cancelled


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def doubled(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def submit(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.ensure_future(batcher.submit(item)) for item in items]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_every_caller_gets_its_own_answer() -> None:
    async def test() -> None:
        batcher = Batcher(doubled, max_batch=3, capacity=200, lanes=2)

        answers = await asyncio.gather(*submit(batcher, *range(100)))

        assert answers == [item + item for item in range(100)]
        await batcher.close()

    run(test)


def test_a_batch_is_what_queued_up_while_the_lane_was_busy() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=4, capacity=100)
        first = submit(batcher, 1)
        await gate.until_entered()
        rest = submit(batcher, 2, 3, 4, 5, 6, 7)
        await turns()
        assert batcher.depth == 6

        gate.let(3)

        assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10, 12, 14]
        assert gate.batches == [[1], [2, 3, 4, 5], [6, 7]]
        await batcher.close()

    run(test)


def test_an_idle_lane_takes_an_item_while_another_is_busy() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=4, capacity=100, lanes=2)
        first = submit(batcher, 1)
        await gate.until_entered()

        second = submit(batcher, 2)
        await gate.until_entered()

        assert sorted(gate.batches) == [[1], [2]]
        gate.let(2)
        assert await asyncio.gather(*first, *second) == [2, 4]
        await batcher.close()

    run(test)


def test_a_failing_batch_fails_its_callers_and_only_them() -> None:
    async def test() -> None:
        def odd_fail(items: Sequence[int]) -> list[int]:
            if items[0] % 2:
                raise ZeroDivisionError("odd")
            return doubled(items)

        batcher = Batcher(odd_fail, max_batch=1, capacity=100)
        results = await asyncio.gather(*submit(batcher, *range(6)), return_exceptions=True)

        assert [result for result in results if isinstance(result, int)] == [0, 4, 8]
        failures = [result for result in results if isinstance(result, BatchError)]
        assert [type(failure.__cause__) for failure in failures] == [ZeroDivisionError] * 3
        assert len({id(failure) for failure in failures}) == 3
        await batcher.close()

    run(test)


@pytest.mark.parametrize("count", [-1, 1], ids=["too few", "too many"])
def test_a_batch_with_a_wrong_number_of_answers_fails_and_nobody_hangs(count: int) -> None:
    async def test() -> None:
        def wrong(items: Sequence[int]) -> list[int]:
            return [0] * (len(items) + count)

        batcher = Batcher(wrong, max_batch=4, capacity=100)
        results = await asyncio.gather(*submit(batcher, 1, 2, 3), return_exceptions=True)

        assert [type(result) for result in results] == [BatchError] * 3
        await batcher.close()

    run(test)


def test_a_caller_that_left_is_not_computed() -> None:
    async def test() -> None:
        gate, ledger = Gate(), Ledger()
        batcher = Batcher(gate.run, max_batch=8, capacity=3, observer=ledger)
        first = submit(batcher, 1)
        await gate.until_entered()
        leaving, staying, leaving_too = submit(batcher, 2, 3, 4)
        await turns()

        leaving.cancel()
        leaving_too.cancel()
        await turns()
        assert batcher.depth == 1
        (late,) = submit(batcher, 5)  # their places are free again
        await turns()
        gate.let(2)

        assert await asyncio.gather(*first, staying, late) == [2, 6, 10]
        assert gate.batches == [[1], [3, 5]]
        await batcher.close()
        assert (ledger.sizes, ledger.cancelled) == ([1, 2], 2)

    run(test)


def test_a_caller_that_leaves_while_its_batch_runs_harms_nobody() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=8, capacity=8)
        leaving, staying = submit(batcher, 1, 2)
        await gate.until_entered()

        leaving.cancel()
        await turns()
        gate.let(2)

        assert await staying == 4
        assert await batcher.submit(3) == 6
        assert leaving.cancelled()
        await batcher.close()

    run(test)


def test_it_says_for_how_long_the_oldest_batch_has_been_at_work() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=1, capacity=8, lanes=2)
        assert batcher.at_work_s == 0

        older, newer = submit(batcher, 1, 2)
        await gate.until_entered()
        await gate.until_entered()
        earlier = batcher.at_work_s
        gate.let()
        await asyncio.wait([older, newer], return_when=asyncio.FIRST_COMPLETED)
        assert batcher.at_work_s > 0
        gate.let()

        await asyncio.gather(older, newer)
        assert earlier > 0
        assert batcher.at_work_s == 0
        await batcher.close()

    run(test)


def test_a_batch_may_end_while_another_thread_asks_for_how_long_it_has_been_at_work() -> None:
    class Ending:
        """A lane whose batch ends once it has been looked at."""

        times = iter([time.monotonic() - 5, None])
        since = property(lambda lane: next(lane.times))

    async def test() -> None:
        batcher = Batcher(doubled, max_batch=1, capacity=8)
        await batcher.close()
        batcher._lanes = [cast(Any, Ending())]
        assert batcher.at_work_s >= 5

    run(test)


def test_a_full_queue_refuses_at_once_and_takes_items_again_later() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=8, capacity=2)
        first = submit(batcher, 1)
        await gate.until_entered()
        waiting = submit(batcher, 2, 3)
        await turns()

        with pytest.raises(QueueFull):
            await batcher.submit(4)

        gate.let(3)
        assert await asyncio.gather(*first, *waiting) == [2, 4, 6]
        assert await batcher.submit(5) == 10
        await batcher.close()

    run(test)


def test_closing_answers_what_is_queued_and_refuses_what_comes_after() -> None:
    async def test() -> None:
        before = set(threading.enumerate())
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=1, capacity=8)
        tasks = submit(batcher, 1, 2, 3)
        await gate.until_entered()
        closing = asyncio.ensure_future(batcher.close())
        await turns()

        with pytest.raises(BatcherClosed):
            await batcher.submit(4)
        assert not closing.done()
        gate.let(3)

        assert await asyncio.gather(*tasks) == [2, 4, 6]
        await closing
        left = [thread.name for thread in set(threading.enumerate()) - before]
        assert not any(name.startswith("lane") for name in left)

    run(test)


def test_an_observer_that_fails_stops_nothing() -> None:
    class Broken:
        def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
            raise KeyError

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        batcher = Batcher(doubled, max_batch=1, capacity=8, observer=Broken())

        assert await asyncio.gather(*submit(batcher, 1, 2, 3)) == [2, 4, 6]
        await batcher.close()

    run(test)


@pytest.mark.parametrize("wrong", [{"max_batch": 0}, {"capacity": 0}, {"lanes": 0}])
def test_a_batcher_that_could_never_answer_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="below 1"):
        Batcher(doubled, **{"max_batch": 1, "capacity": 1, **wrong})


def test_an_exception_in_place_of_an_answer_fails_that_item_alone() -> None:
    def picky(items: Sequence[int]) -> list[int | Exception]:
        return [ValueError(f"{item} is odd") if item % 2 else 2 * item for item in items]

    async def test() -> None:
        batcher: Batcher[int, int] = Batcher(picky, max_batch=8, capacity=8)
        results = await asyncio.gather(*submit(batcher, 2, 3, 4), return_exceptions=True)

        assert [results[0], results[2]] == [4, 8]
        assert isinstance(results[1], ValueError)
        assert str(results[1]) == "3 is odd"
        assert await batcher.submit(5 + 1) == 12
        await batcher.close()

    run(test)


def test_a_lane_leaves_the_others_their_share_of_what_waits() -> None:
    async def test() -> None:
        gate = Gate()
        batcher = Batcher(gate.run, max_batch=8, capacity=100, lanes=2)
        busy = submit(batcher, 1, 2)
        await gate.until_entered()
        await gate.until_entered()
        waiting = submit(batcher, *range(10, 16))
        await turns()

        gate.let(1)
        await gate.until_entered()
        assert gate.batches[2] == [10, 11, 12]  # half of the six
        gate.let(10)

        assert await asyncio.gather(*busy, *waiting) == [2, 4, *range(20, 32, 2)]
        await batcher.close()

    run(test)


def test_a_lone_caller_always_meets_the_same_lane() -> None:
    threads: list[str] = []

    def noted(items: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread().name)
        return doubled(items)

    async def test() -> None:
        batcher = Batcher(noted, max_batch=4, capacity=8, lanes=3)
        for item in range(20):
            assert await batcher.submit(item) == 2 * item
        await batcher.close()

    run(test)
    assert set(threads) == {"lane_0"}


def test_each_lane_is_prepared_with_whether_it_runs_alone() -> None:
    told: list[tuple[str, str, bool]] = []

    def preparing(name: str) -> Callable[[bool], None]:
        return lambda crowded: told.append((name, threading.current_thread().name, crowded))

    async def test() -> None:
        gate = Gate()
        prepare = [preparing("first"), preparing("second")]
        batcher = Batcher(gate.run, max_batch=1, capacity=8, lanes=2, prepare=prepare)
        alone = submit(batcher, 1)
        await gate.until_entered()
        assert not batcher.is_crowded
        beside = submit(batcher, 2)
        await gate.until_entered()
        assert batcher.is_crowded
        gate.let(2)
        assert await asyncio.gather(*alone, *beside) == [2, 4]
        assert not batcher.is_crowded
        await batcher.close()

    run(test)
    assert told == [("first", "lane_0", False), ("second", "lane_1", True)]


def test_whatever_a_batch_raises_its_lane_goes_on() -> None:
    def leaving(items: Sequence[int]) -> list[int]:
        if items[0] == 1:
            raise SystemExit
        return doubled(items)

    async def test() -> None:
        batcher = Batcher(leaving, max_batch=1, capacity=8)
        with pytest.raises(BatchError) as caught:
            await batcher.submit(1)
        assert isinstance(caught.value.__cause__, SystemExit)
        assert await batcher.submit(2) == 4
        await batcher.close()

    run(test)
