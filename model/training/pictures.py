"""The report's pictures: figures of matplotlib as SVG that stands in a page.

Colours are CSS variables of the page, so that one picture fits a light and a dark ground; text
stays text.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.metrics import Reliability
from model.training.history import History
from model.training.selection import Choice, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins that nothing else draws in -> variables of the page.
INK, GRID, SEEN, UNSEEN = "#010203", "#010204", "#010205", "#010206"
VARIABLES = {INK: "--ink", GRID: "--grid", SEEN: "--seen", UNSEEN: "--unseen"}
NAMED = 120  # classes; more than that, and their names can't be read
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "umzero",  # the same numbers, the same file
    "text.parse_math": False,  # a class may be called "$"
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "lines.markersize": 4,
}


@dataclass(frozen=True)
class Picture:
    """`text` tells what can be seen to whoever can't see it."""

    name: str  # a word, unique on the page
    title: str
    text: str
    svg: str


def learning_curves(choosing: History, final: History, chosen_epochs: int) -> Picture:
    """Loss of both trainings by epoch; validation CZSL and H of the one that chooses."""
    found: list[Choice] = [best_of(epoch.record) for epoch in choosing]
    with _Drawing(7.2, 3.0) as drawing:
        left, right = drawing.axes(2)
        for history, label, colour in (
            (choosing, "without validation classes", SEEN),
            (final, "all seen classes", UNSEEN),
        ):
            losses = [epoch.loss for epoch in history]
            left.plot(range(1, len(losses) + 1), losses, "o-", color=colour, label=label)
        left.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None))
        for values, label, colour in (
            ([c.czsl for c in found], "CZSL", UNSEEN),
            ([c.h for c in found], "H", SEEN),
        ):
            shares = [100 * value for value in values]
            right.plot(range(1, len(shares) + 1), shares, "o-", color=colour, label=label)
        right.axvline(chosen_epochs, color=INK, linestyle=":", label="chosen")
        right.set(xlabel="epoch", ylabel="validation, percent")
        for axes in (left, right):
            axes.locator_params(axis="x", integer=True)
            axes.legend()
    told = "; ".join(
        f"epoch {n}: CZSL {100 * c.czsl:.1f}, H {100 * c.h:.1f}" for n, c in enumerate(found, 1)
    )
    text = f"Validation in percent by epoch. {told}. Chosen: {chosen_epochs} epochs."
    return drawing.picture("learning", "Learning curves", text)


def accuracies(
    kind: str, names: Sequence[str], shares: NDArray[np.float64], mean: float
) -> Picture:
    """A bar for each class, the best on top, and a line at their mean."""
    order = np.argsort(shares, kind="stable")
    colour = UNSEEN if kind == "unseen" else SEEN
    with _Drawing(7.2, 1.0 + 0.17 * min(len(names), NAMED)) as drawing:
        (axes,) = drawing.axes(1)
        axes.barh(range(len(names)), 100 * shares[order], color=colour)
        axes.axvline(100 * mean, color=INK, linestyle=":")
        axes.set(xlabel="percent right", xlim=(0, 100), ylim=(-0.6, len(names) - 0.4))
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(names)) if len(names) <= NAMED else [])
        if len(names) <= NAMED:
            axes.set_yticklabels([names[i] for i in order], fontsize=8)
    worst, best = (f"{names[i]} ({100 * shares[i]:.1f})" for i in (order[0], order[-1]))
    text = (
        f"{len(names)} {kind} classes, all classes as candidates: mean {100 * mean:.1f} percent, "
        f"from {worst} to {best}."
    )
    return drawing.picture(f"accuracy-{kind}", f"Accuracy of each {kind} class", text)


def confusions(names: Sequence[str], counts: NDArray[np.int64]) -> Picture:
    """A square for each pair of classes, darker where more of a row's images went to a column."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.22 * min(len(names), NAMED)
    with _Drawing(side, side) as drawing:
        (axes,) = drawing.axes(1)
        rows, columns = np.nonzero(shares)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            # Squares in one colour, not an image: an image would be a bitmap in the page.
            corner = (column - 0.5, row - 0.5)
            drawing.square(axes, corner, float(shares[row, column]))
        ticks = range(len(names)) if len(names) <= NAMED else []
        limits = (-0.5, len(names) - 0.5)
        axes.set(xlim=limits, ylim=limits[::-1], xlabel="answered", ylabel="true", aspect="equal")
        axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90, fontsize=8)
        axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=8)
        axes.grid(visible=False)
    filled = counts.any(axis=1)  # a class without an image is a candidate all the same
    right = float(np.diag(shares)[filled].mean())
    text = (
        f"{len(names)} unseen classes as the only candidates; {100 * right:.1f} percent on the "
        "diagonal, mean over classes."
    )
    return drawing.picture("confusion", "Confusion of the unseen classes", text)


def seen_unseen(
    u: NDArray[np.float64], s: NDArray[np.float64], area: float, chosen: tuple[float, float]
) -> Picture:
    """S over U for every gamma, and the point (U, S) of the gamma that was chosen."""
    with _Drawing(4.6, 4.2) as drawing:
        (axes,) = drawing.axes(1)
        axes.plot(100 * u, 100 * s, color=SEEN, drawstyle="steps-post")
        axes.plot(100 * chosen[0], 100 * chosen[1], "o", color=UNSEEN, markersize=8)
        axes.annotate(
            "the chosen gamma",
            (100 * chosen[0], 100 * chosen[1]),
            (-8, -14),
            textcoords="offset points",
            ha="right",
        )
        axes.set(xlabel="U, percent", ylabel="S, percent", xlim=(0, 101), ylim=(0, 101))
    text = (
        f"AUSUC, the area below, is {100 * area:.1f} percent. At the chosen gamma U is "
        f"{100 * chosen[0]:.1f} and S {100 * chosen[1]:.1f}."
    )
    return drawing.picture("seen-unseen", "Seen and unseen classes, over gamma", text)


def calibration(found: Reliability) -> Picture:
    """How often answers are right over how sure they are; the diagonal is perfect."""
    bins = len(found.images)
    full = np.flatnonzero(found.images)
    with _Drawing(4.6, 4.2) as drawing:
        (axes,) = drawing.axes(1)
        centres = 100 * (full + 0.5) / bins
        axes.bar(centres, 100 * found.accuracy[full], 94 / bins, color=SEEN, alpha=0.7)
        axes.plot(
            100 * found.confidence[full],
            100 * found.accuracy[full],
            "o",
            color=UNSEEN,
            label="mean confidence of a bin",
        )
        axes.plot((0, 100), (0, 100), ":", color=INK, label="perfect")
        axes.set(
            xlabel="confidence, percent", ylabel="right, percent", xlim=(0, 100), ylim=(0, 101)
        )
        axes.legend(loc="upper left")
    bars = "; ".join(
        f"{found.images[i]} images at {100 * found.confidence[i]:.0f}: "
        f"{100 * found.accuracy[i]:.0f}"
        for i in full
    )
    text = (
        f"The expected calibration error (ECE) is {100 * found.error:.1f} percent. Confidence and "
        f"share right, percent: {bars}."
    )
    return drawing.picture("calibration", "Do the probabilities hold", text)


class _Drawing:
    """One figure, drawn with the report's settings inside a `with` block."""

    def __init__(self, width: float, height: float) -> None:
        import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
        from matplotlib.figure import Figure  # noqa: PLC0415

        self._settings = mpl.rc_context(SETTINGS)  # type: ignore[arg-type]
        self._settings.__enter__()
        self.figure = Figure((width, height), layout="constrained")
        self._svg = ""

    def __enter__(self) -> "_Drawing":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                out = io.StringIO()
                nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
                self.figure.savefig(out, format="svg", metadata=nothing)
                self._svg = out.getvalue()
        finally:
            self._settings.__exit__(None, None, None)

    def axes(self, columns: int) -> list["Axes"]:
        return [self.figure.add_subplot(1, columns, i + 1) for i in range(columns)]

    def square(self, axes: "Axes", corner: tuple[float, float], strength: float) -> None:
        from matplotlib.patches import Rectangle  # noqa: PLC0415

        axes.add_patch(Rectangle(corner, 1, 1, facecolor=SEEN, alpha=strength, linewidth=0))

    def picture(self, name: str, title: str, text: str) -> Picture:
        return Picture(name, title, text, in_page(self._svg, name, title, text))


def in_page(svg: str, name: str, title: str, text: str) -> str:
    """A file of matplotlib's as an element of a page: no declarations, ids of its own, the page's
    colours, and words for whoever can't see it."""
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would be all of the page's
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{name}-", body).replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}pt" role="img" '
        f'aria-labelledby="{name}-title {name}-text"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-text">{escape(text)}</desc>{body}'
    )
