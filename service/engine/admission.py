"""Permits: how many requests may be at work or waiting, decided before anything is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded


class Permits:
    """Counts on the event loop's thread; refuses at once instead of queueing without end."""

    def __init__(self, capacity: int, retry_after_s: Callable[[int], int] = lambda _: 1) -> None:
        self._capacity = capacity
        self._retry_after_s = retry_after_s
        self._taken = 0

    @property
    def taken(self) -> int:
        return self._taken

    @contextmanager
    def hold(self) -> Iterator[None]:
        """One permit, given back at the end whatever happens.

        Raises:
            Overloaded: all of them are taken.
        """
        if self._taken >= self._capacity:
            raise Overloaded(
                f"{self._capacity} requests are at work already; try again",
                self._retry_after_s(self._taken),
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
