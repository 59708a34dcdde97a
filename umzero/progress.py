"""A bar on stderr: stdout is for results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(title: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """What is yielded takes how many more are done. Without `shown` nothing is drawn."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # What is printed meanwhile goes where it is meant to.
    with Progress(
        *columns,
        console=console,
        disable=not shown,
        redirect_stdout=False,
        redirect_stderr=console.is_terminal,
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
