"""Unknown classes, calibrated probabilities, photographs beside sheets: over folds.

    python bench/calibration.py --data ../shared/data/birds [--folds 5] [--seeds 1]

No image and no class of the test sets is read. In each fold the network is trained without the
fold's classes, as in `umzero ablate`, whose caches it shares; gamma, the temperature and what a
sheet counts for are chosen on the other folds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from model.commands.common import bar
from model.data.read import read
from model.metrics import best_gamma, reliability
from model.nn.unit import unit_rows
from model.runtime.base import F32
from model.scoring import calibrated_stacking, softmax
from model.training.ablation import fingerprint
from model.training.calibration import (
    COUNTS,
    DRAWS,
    SHEET_COUNTS,
    PhotographScores,
    rejection,
    with_photographs,
)
from model.training.features import extract
from model.training.folds import folds
from model.training.heads import fresh_network
from model.training.memory import keep_freed_memory
from model.training.recipes import recipe
from model.training.selection import TEMPERATURES, ValidationTask, log_loss
from model.training.systems import Fold
from model.training.training_run import attribute_space

RIDGES, EPOCHS, WEIGHT = (2.0, 1.0), 6, 1.0  # those of weights/birds


@dataclass(frozen=True, eq=False)
class Scored:
    """One fold: embeddings (N, D) of its photographs, prototypes (C, D), its own best gamma."""

    task: ValidationTask
    embedding: F32
    prototypes: F32
    gamma: float

    def stacked(self, gamma: float) -> F32:
        cosines = self.embedding @ self.prototypes.T
        return calibrated_stacking(cosines, self.task.is_seen, gamma)


def scored(fold: Fold) -> Scored:
    embedding = unit_rows(fold.whole[RIDGES] + WEIGHT * fold.local(True)[EPOCHS]).numpy()
    prototypes = fold.prototypes.numpy()
    gamma = best_gamma(embedding @ prototypes.T, fold.task.truth, fold.task.is_seen)
    return Scored(fold.task, embedding, prototypes, gamma)


def read_folds(data: Path, count: int, seeds: int, runs: Path) -> list[list[Scored]]:
    """For each seed, its folds."""
    keep_freed_memory()
    config, dataset = recipe("birds", 0), read(data)
    space = attribute_space(dataset)
    with bar(Console(stderr=True))("features") as progress:
        network = fresh_network(config.model, space, len(dataset.seen), config.seed)
        store = extract(network, dataset, runs, progress)
    folder = runs / f"folds-{fingerprint(config, dataset, count)}"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        [
            scored(Fold(task, number, seed, dataset, space, store, config, folder))
            for number, task in enumerate(folds(dataset, count, seed))
        ]
        for seed in range(seeds)
    ]


def error(fold: Scored, gamma: float, temperature: float) -> float:
    """The expected calibration error."""
    return reliability(
        softmax(fold.stacked(gamma) / np.float32(temperature)), fold.task.truth
    ).error


def scores_with(fold: Scored, gamma: float, count: int, counts: float) -> list[PhotographScores]:
    """One for each draw."""
    return [
        with_photographs(fold.embedding, fold.prototypes, fold.task, gamma, count, counts, draw)
        for draw in range(DRAWS)
    ]


def merit(folds: Sequence[Scored], gamma: float, counts: float) -> float:
    """The mean over folds, draws and counts of photographs."""
    found = [
        row for fold in folds for count in COUNTS for row in scores_with(fold, gamma, count, counts)
    ]
    return float(np.mean([row.merit for row in found]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    rejections, before, after, chosen = [], [], [], []
    tables: dict[int, list[PhotographScores]] = {count: [] for count in (0, *COUNTS)}
    for found in read_folds(given.data, given.folds, given.seeds, given.runs):
        for number, fold in enumerate(found):
            others = found[:number] + found[number + 1 :]
            gamma = float(np.median([other.gamma for other in others]))
            stacked = [(other.stacked(other.gamma), other.task.truth) for other in others]
            temperature = min(TEMPERATURES, key=lambda t: sum(log_loss(*s, t) for s in stacked))
            before.append(error(fold, gamma, recipe("birds", 0).mim.temperature))
            after.append(error(fold, gamma, temperature))
            counts = max(SHEET_COUNTS, key=lambda c: merit(others, gamma, c))
            chosen.append(counts)
            for draw in range(DRAWS):
                rejections.append(
                    rejection(fold.embedding, fold.prototypes, fold.task, gamma, draw)
                )
            for count, rows in tables.items():
                rows.extend(scores_with(fold, gamma, count, counts))
    print(f"AUROC, known against unknown: {np.mean([r.auroc for r in rejections]):.3f}")
    caught = 100 * np.mean([r.caught for r in rejections])
    print(f"unknown ones caught at 5 % false alarms: {caught:.1f} %")
    print(
        f"ECE at the losses' temperature: {np.mean(before):.3f}, calibrated: {np.mean(after):.3f}"
    )
    print(f"a sheet counts for {', '.join(f'{c:g}' for c in chosen)} photographs")
    print("photographs    CZSL      U      S      H")
    for count, rows in tables.items():
        means = np.mean([astuple(row) for row in rows], axis=0)
        print(f"{count:11}" + "".join(f"{100 * value:7.1f}" for value in means))


if __name__ == "__main__":
    main()
