"""Calls that block: each has its turn, or an error that says whether it may still run."""

import asyncio
import threading

import pytest

from service.errors import DeadlinePassed, StoreUnavailable
from service.registry import line as lines
from service.registry.line import Line


@pytest.fixture
def held() -> threading.Event:
    """Set it, and what waits for it goes on."""
    return threading.Event()


def test_answers_and_errors_come_back() -> None:
    line = Line("test", 1)

    def fails() -> None:
        raise LookupError("its own")

    async def test() -> None:
        assert await line.call(threading.get_ident) != threading.get_ident()
        with pytest.raises(LookupError, match="its own"):
            await line.call(fails)

    asyncio.run(test())
    line.close()


def test_whose_turn_does_not_come_is_told_so_and_never_runs(
    held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "TURN_S", 0.5)
    line = Line("test", 1)
    ran: list[int] = []

    async def test() -> None:
        first = asyncio.ensure_future(line.call(held.wait))
        await asyncio.sleep(0)
        refused = await asyncio.gather(
            *(line.call(lambda: ran.append(1)) for _ in range(5)), return_exceptions=True
        )
        assert [type(error) for error in refused] == [StoreUnavailable] * 5
        held.set()
        assert await first is True
        await line.call(lambda: ran.append(2))

    asyncio.run(test())
    line.close()
    assert ran == [2]


def test_what_runs_too_long_is_answered_for_before_it_ends(
    held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "TURN_S", 1)
    monkeypatch.setattr(lines, "ANSWER_S", 0.05)
    line = Line("test", 1)

    async def test() -> None:
        with pytest.raises(DeadlinePassed, match="may be written"):
            await line.call(held.wait)
        assert not held.is_set()
        held.set()
        monkeypatch.setattr(lines, "TURN_S", 30)
        assert await line.call(lambda: "next") == "next"

    asyncio.run(test())
    line.close()


def test_a_caller_that_leaves_the_line_is_not_served(held: threading.Event) -> None:
    line = Line("test", 1)
    ran: list[int] = []

    async def test() -> None:
        first = asyncio.ensure_future(line.call(held.wait))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(line.call(lambda: ran.append(1)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        held.set()
        await first
        await line.call(lambda: ran.append(2))

    asyncio.run(test())
    line.close()
    assert ran == [2]
