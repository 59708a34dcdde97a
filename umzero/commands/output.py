"""How commands end, and what they print: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from umzero.errors import UNREACHABLE, RequestFailed

REFUSED = 1  # the request was refused or failed
# 2 is typer's own: the command line can't be understood.
UNAVAILABLE = 3  # no server answers, or it isn't ready
PARTLY = 4  # some of several things failed
INTERRUPTED = 130  # 128 + SIGINT, as shells say it

EXIT_CODES = (
    "Exit codes: 0 fine; 1 the request was refused or failed; 2 the command line can't be "
    "understood; 3 the server can't be reached or isn't ready; 4 partly done: some lines or "
    "images failed; 130 Ctrl-C."
)
_LONGEST_LIST = 50  # lines of what went wrong
_WITHOUT_TERMINAL = 1000  # columns: nothing is folded in a pipe

JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, one line a result")]


def print_json(value: Any) -> None:
    """One line, in ASCII: it stays valid whatever the locale."""
    print(json.dumps(value), flush=True)


def print_line(text: str) -> None:
    """Plain text."""
    print(text, flush=True)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    title: str | None = None,
    caption: str | None = None,
) -> None:
    """A table on stdout; the columns in `right` are numbers."""
    table = Table(
        title=None if title is None else escape(title),
        caption=None if caption is None else escape(caption),
    )
    for column in columns:
        justify: Any = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WITHOUT_TERMINAL)
    console.print(table)


def tell(kind: str, message: str, colour: str = "yellow") -> None:
    """A line on stderr: `kind: message`."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[{colour}]{kind}:[/{colour}] {escape(message)}"
    )


def tell_error(message: str) -> None:
    tell("error", message, "red")


def tell_some(kind: str, messages: Sequence[str], colour: str = "yellow") -> None:
    """The first of many."""
    for message in messages[:_LONGEST_LIST]:
        tell(kind, message, colour)
    if len(messages) > _LONGEST_LIST:
        tell(kind, f"{len(messages) - _LONGEST_LIST} more; --json lists all of them", colour)


def problem_json(failed: RequestFailed) -> dict[str, Any]:
    """As in an answer for several images."""
    return {"status": failed.status, "code": failed.code, "detail": failed.detail}


def advice(failed: RequestFailed) -> str:
    """What happened, and what to do where that is not said yet."""
    if failed.code == UNREACHABLE:
        return f"{failed}. Is it running, and is its address right? See --url, or UMZERO_URL"
    return str(failed)


def finish(done: int, failed: int) -> None:
    """Raises: typer.Exit, where something failed."""
    if failed:
        raise typer.Exit(PARTLY if done else REFUSED)


def wants_bar(count: int) -> bool:
    """Where results go elsewhere and somebody watches."""
    return count > 1 and sys.stderr.isatty() and not sys.stdout.isatty()
