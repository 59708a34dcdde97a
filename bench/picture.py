"""Raw results -> docs/benchmarks.svg: the share of the limit that each system reaches."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from systems import SYSTEMS
from table import ratios

INK = "#808080"  # readable on white and on black
COLOURS = ("#2f81f7", "#d29922", "#8957e5", "#db61a2", "#3fb950", "#6e7681")


def draw(results: dict[str, Any], path: Path) -> None:
    """Grouped bars: a group for each number of clients, a bar for each system."""
    tried = {entry["system"] for entry in results["rounds"]}
    systems = [(s, colour) for s, colour in zip(SYSTEMS, COLOURS, strict=True) if s.name in tried]
    concurrency = results["concurrency"]
    width = 0.8 / len(systems)
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "bench",
        "font.family": "sans-serif",
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(figsize=(8, 3.6))
        for number, (system, colour) in enumerate(systems):
            for group, clients in enumerate(concurrency):
                values = ratios(results, system.name, clients)
                if not values:
                    continue
                middle = statistics.median(values)
                spread = [[middle - min(values)], [max(values) - middle]]
                place = group + (number - (len(systems) - 1) / 2) * width
                axes.bar(
                    place,
                    middle,
                    width * 0.9,
                    color=colour,
                    label=system.title if group == 0 else None,
                    yerr=spread if len(values) > 1 else None,
                    error_kw={"ecolor": INK, "elinewidth": 1},
                )
                axes.text(place, 0.02, f"{middle:.2f}", ha="center", fontsize=8, color="white")
        axes.axhline(1, color=INK, linewidth=1, linestyle="--")
        names = [f"{clients} client{'s' * (clients > 1)}" for clients in concurrency]
        axes.set_xticks(range(len(concurrency)), names)
        axes.set_ylabel("throughput / in-process limit")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            ncols=len(systems), loc="lower center", bbox_to_anchor=(0.5, 1.02), frameon=False,
            fontsize=9, columnspacing=1, handlelength=1,
        )  # fmt: skip
        figure.tight_layout()
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)
