"""What the commands share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

BundleArgument = Annotated[Path, typer.Argument(help="a bundle's folder, such as weights/birds")]
DataOption = Annotated[Path, typer.Option(help="a data set's folder: CUB, SUN, AWA2, or your own")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


def bar(console: Console) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    """Title -> a progress bar, which takes how many are done, and of how many."""

    @contextmanager
    def opened(title: str) -> Iterator[Callable[[int, int], None]]:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return opened
