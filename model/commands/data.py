"""`umzero data check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from model.commands.common import JsonOption

if TYPE_CHECKING:
    from model.data.check import Report


def data_check(
    data: Annotated[Path, typer.Argument(help="a data set's folder")],
    as_json: JsonOption = False,
) -> None:
    """Tell everything that is wrong with a data set; exit code 1 when it can't be used as it is."""
    from model.data.check import check

    report = check(data)
    if as_json:
        kinds = ("summary", "errors", "warnings", "notes")
        print(json.dumps({"data": str(data), **{kind: getattr(report, kind) for kind in kinds}}))
    else:
        _show(data, report)
    if report.errors:
        raise typer.Exit(1)


def _show(data: Path, report: "Report") -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{escape(str(data))}: {report.summary}")
    for colour, kind, found in (
        ("red", "error", report.errors),
        ("yellow", "warning", report.warnings),
        ("blue", "note", report.notes),
    ):
        for line in found:
            console.print(f"[{colour}]{kind}:[/{colour}] {escape(line)}")
    console.print(f"errors: {len(report.errors)}, warnings: {len(report.warnings)}")
