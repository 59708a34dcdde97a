"""`Line`: calls that block, in threads of their own; nobody waits for them for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from service.errors import DeadlinePassed, StoreUnavailable

TURN_S = 5.0
ANSWER_S = 60.0

Result = TypeVar("Result")


class Line:
    """Whoever comes waits for a turn, then for the answer, both for so long at most.

    Args:
        name: of the threads.
        threads: calls at the same time, at most.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run something that asks the database, off the event loop.

        Raises:
            StoreUnavailable: its turn did not come; it won't be run.
            DeadlinePassed: it is still running.
        """
        # What the thread logs is said for the request that asked.
        running = self._threads.submit(copy_context().run, function)
        answer = asyncio.wrap_future(running)
        try:
            await asyncio.wait([answer], timeout=TURN_S)
            if running.cancel():
                raise StoreUnavailable("the database is slow, and others wait for it; try again")
            await asyncio.wait([answer], timeout=ANSWER_S)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        if not answer.done():
            answer.cancel()
            raise DeadlinePassed(
                f"no answer of the database within {ANSWER_S:g} s; what was to be written may be "
                "written yet"
            )
        return answer.result()

    def close(self) -> None:
        """Wait for what runs."""
        self._threads.shutdown()
