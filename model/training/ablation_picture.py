"""The ablation as a picture: what each system is ahead of the first, with its interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.training.ablation import Row

# Legible on a light and on a dark ground.
INK, COLOURS = "#7a7f87", {"czsl": "#2f81c4", "h": "#d0762c"}
TITLES = {"czsl": "CZSL", "h": "H"}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "umzero",  # the same numbers, the same file
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the picture as SVG.

    Args:
        rows: the first one is what the others are held against.
    """
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(SETTINGS):
        figure = Figure((8, 1.1 + 0.42 * len(rows[1:])), layout="constrained")
        axes = figure.subplots()
        for part, shift in (("czsl", 0.14), ("h", -0.14)):
            found = [row.over_first[part] for row in rows[1:] if row.over_first is not None]
            places = [len(found) - 1 - place + shift for place in range(len(found))]
            means = [100 * one.mean for one in found]
            below = [100 * (one.mean - one.low) for one in found]
            above = [100 * (one.high - one.mean) for one in found]
            axes.errorbar(
                means,
                places,
                xerr=[below, above],
                fmt="o",
                capsize=3,
                color=COLOURS[part],
                label=TITLES[part],
            )
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(rows) - 1), [row.system for row in rows[:0:-1]])
        axes.set_xlabel(
            f"points over {rows[0].system}, {rows[0].seeds} deals of folds, 95 % intervals"
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", color=INK, alpha=0.25)
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
