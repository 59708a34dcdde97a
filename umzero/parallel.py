"""`in_order`: some requests at a time, their answers in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], at_once: int
) -> Iterator[Result]:
    """What `function` makes of each, `at_once` of them in threads of their own, as it comes.

    The first error that is raised ends it. Who stops listening does not wait for what was asked.
    """
    pool = ThreadPoolExecutor(at_once)
    contexts = [copy_context() for _ in items]  # the caller's, which its trace is in
    try:
        yield from pool.map(lambda context, item: context.run(function, item), contexts, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
