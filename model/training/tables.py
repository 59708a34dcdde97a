"""Results as tables, for people."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from model.card import SCORES
from model.runtime.precision import is_good_enough
from model.training.ablation import Row


def print_scores(scores: dict[str, Any]) -> None:
    """What `umzero train` and `umzero evaluate` measured."""
    table = Table(title="percent; CZSL, U, S and H are per-class averages")
    for column in ("", *SCORES.values()):
        table.add_column(column, justify="right" if column else "left")
    name = f"UMZero without {scores['without']}" if scores.get("without") else "UMZero"
    for title, row in ((name, scores), ("ESZSL", scores.get("baseline"))):
        if row:
            table.add_row(title, *(_percent(row.get(key)) for key in SCORES))
    console = Console()
    console.print(table)
    if "changed" in scores:
        console.print(f"top-1 changes on {scores['changed']:.1%} of the test photographs")


def print_ablation(rows: Sequence[Row]) -> None:
    """What `umzero ablate` compared."""
    table = Table(title="pseudo-unseen classes in turn, percent; differences with 95 % intervals")
    scores = ("czsl", "u", "s", "h", "ausuc")
    for column in ("", "seeds", "CZSL", "U", "S", "H", "AUSUC", "over ESZSL: CZSL", "H"):
        table.add_column(column, justify="right" if column else "left")
    for column in (f"over {rows[0].system}: CZSL" if rows else "", "H"):
        table.add_column(column, justify="right")
    for row in rows:
        values = (f"{100 * row.summary[k]:.1f} ± {100 * row.deviation[k]:.1f}" for k in scores)
        differences = (
            "" if found is None else str(found[k])
            for found in (row.over_baseline, row.over_first)
            for k in ("czsl", "h")
        )
        table.add_row(row.system, str(row.seeds), *values, *differences)
    Console(width=200).print(table)


def print_curve(curve: dict[str, Any]) -> None:
    """What `umzero evaluate --frames` measured."""
    table = Table(
        title=f"{curve['photographs']} photographs of {curve['on']} classes in frames, percent"
    )
    for column in ("object's share", "look 1", "look 2", "true window", "overlap"):
        table.add_column(column, justify="right")
    for point in curve["points"]:
        table.add_row(*(f"{100 * value:.1f}" for value in point.values()))
    Console().print(table)


def print_int8(int8: dict[str, Any]) -> None:
    """What int8 costs."""
    found = int8["validation"]
    table = Table(title="validation classes, per-class averages, percent")
    for column in ("", "CZSL", "U", "S", "H"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("fp32", "int8"):
        table.add_row(name, *(f"{100 * found[name][key]:.1f}" for key in ("czsl", "u", "s", "h")))
    console = Console()
    console.print(table)
    chosen = "int8" if is_good_enough(int8) else "fp32"
    console.print(
        f"the same best class on {found['agreement']:.1%} of {found['photographs']} photographs; "
        f"precision auto takes {chosen}"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
