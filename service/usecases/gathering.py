"""Several pieces of work of one request at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

# A request with many images doesn't fill the queue before the others' single ones.
IMAGES_AT_ONCE = 4

Result = TypeVar("Result")


async def gathered(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results, in order; the first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]
