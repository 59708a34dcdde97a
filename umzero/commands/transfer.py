"""`umzero classes import` and `export`: classes from and to files."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from umzero.address import DEFAULT_URL
from umzero.commands.connection import CollectionOption, UrlOption, connected
from umzero.commands.output import (
    JsonOption,
    finish,
    print_json,
    print_line,
    tell,
    tell_some,
)
from umzero.errors import InputRefused, RequestFailed

if TYPE_CHECKING:
    from umzero.class_files.rows import BadLine
    from umzero.client import Client
    from umzero.importing import Outcome
    from umzero.results import FullClass, RegisteredClass

FormatOption = Annotated[
    Literal["csv", "ndjson", "parquet"] | None,
    typer.Option("--format", help="where the file's name doesn't say it", show_default=False),
]
_AT_ONCE = 8  # classes that are fetched


def classes_import(
    file: Annotated[Path, typer.Argument(help="a .csv, .ndjson or .parquet file; - for stdin")],
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    on_conflict: Annotated[
        Literal["fail", "skip", "replace"],
        typer.Option(help="where an id or a name is there already; fail: write nothing"),
    ] = "fail",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="look, and write nothing")] = False,
    kind: FormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register the classes of a file. Lines that can't be used are told and left out."""
    from umzero.class_files.formats import READERS, format_of
    from umzero.class_files.rows import space_of
    from umzero.importing import Outcome, carry_out, report, survey
    from umzero.progress import bar

    read = READERS[format_of(file, kind)]
    with connected(url, collection) as client, _opened(file) as opened:
        space = space_of(client.attributes())
        with closing(read(opened, space)) as rows:
            plan = survey(rows, space, client.classes(), on_conflict)
        outcome = Outcome(skipped=plan.skipped, problems=plan.problems + plan.conflicts)
        stopped: RequestFailed | KeyboardInterrupt | None = None
        if plan.conflicts:
            outcome.skipped = 0
        elif dry_run:
            outcome.registered, outcome.replaced = len(plan.add), len(plan.replace)
        else:
            opened.seek(0)
            total = len(plan.add) + len(plan.replace)
            with (
                closing(read(opened, space)) as rows,
                bar("classes", total, shown=sys.stderr.isatty()) as advance,
            ):
                try:
                    carry_out(client, rows, plan, outcome, advance)
                except (RequestFailed, KeyboardInterrupt) as error:
                    stopped = error
    _tell_lines(outcome.problems)
    tell_some("warning", outcome.warnings)
    if as_json:
        print_json(report(outcome, dry_run=dry_run))
    else:
        print_line(_summary(outcome, dry_run))
    if plan.conflicts:
        raise InputRefused(
            f"nothing was written: classes that are there already: {len(plan.conflicts)}. "
            "--on-conflict skip or replace says what to do with them"
        )
    if stopped is not None:
        again = "replace" if on_conflict == "replace" else "skip"
        tell("stopped", f"run this again with --on-conflict {again} to go on", "red")
        raise stopped
    finish(outcome.done, len(outcome.problems))


def classes_export(
    file: Annotated[Path, typer.Argument(help="a .csv, .ndjson or .parquet file; - for stdout")],
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="with the bundle's own classes")
    ] = False,
    kind: FormatOption = None,
) -> None:
    """Write the registered classes to a file, whole sheets; `import` reads it."""
    from umzero.class_files.formats import WRITERS, format_of
    from umzero.class_files.rows import space_of
    from umzero.progress import bar

    chosen = format_of(file, kind)
    with connected(url, collection) as client, _written(file) as opened:
        space = space_of(client.attributes())
        wanted = [item for item in client.classes() if everything or not item.seen]
        count = 0
        mixed = str(file) == "-" and sys.stdout.isatty()  # the bar and the lines
        with (
            closing(WRITERS[chosen](opened, space)) as writer,
            bar("classes", len(wanted), shown=sys.stderr.isatty() and not mixed) as advance,
        ):
            for item in _fetched(client, wanted):
                if item is not None:
                    writer.write(item)
                    count += 1
                advance(1)
    tell("written", f"to {'stdout' if str(file) == '-' else file}, classes: {count}", "green")


def _fetched(client: "Client", wanted: list["RegisteredClass"]) -> Iterator["FullClass | None"]:
    """Each class; None for one that somebody removed meanwhile."""
    from umzero.parallel import in_order

    def get(item: "RegisteredClass") -> "FullClass | None":
        try:
            return client.get(item.class_id)
        except RequestFailed as error:
            if error.status == 404:
                return None
            raise

    return in_order(get, wanted, _AT_ONCE)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file that can be read twice; pipes are copied, and stdin, which may be past its start."""
    is_stdin = str(path) == "-"
    with nullcontext(sys.stdin.buffer) if is_stdin else path.open("rb") as file:
        if file.seekable() and not is_stdin:
            yield file
            return
        with tempfile.TemporaryFile() as kept:
            shutil.copyfileobj(file, kept)
            kept.seek(0)
            yield kept


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that is there when it is complete, or not at all."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    path = path.resolve()  # what a link names is written, and the link stays
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _tell_lines(lines: list["BadLine"]) -> None:
    ordered = sorted(lines, key=lambda item: item.line)
    tell_some("error", [f"line {item.line}: {item.detail}" for item in ordered], "red")


def _summary(outcome: "Outcome", dry_run: bool) -> str:
    parts = [
        f"{outcome.registered} registered",
        f"{outcome.replaced} replaced",
        f"{outcome.skipped} skipped",
        f"{len(outcome.problems)} failed",
    ]
    return ("nothing was written; would be: " if dry_run else "") + ", ".join(parts)
