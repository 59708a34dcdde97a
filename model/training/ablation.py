"""The ablation: every system over folds and seeds, one line a finished run in a log that is kept.

A run is one system over all folds of one seed. The log's lines hold each class's accuracies, so
that differences between runs can be paired by class; what stands there is not run again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.data.types import ZeroShotData
from model.sheets import AttributeSpace
from model.training.config import TrainingConfig
from model.training.features import Progress, extract
from model.training.folds import Difference, Result, folds, paired_difference
from model.training.heads import fresh_network
from model.training.systems import SYSTEMS, Fold
from model.training.tuned_systems import TUNED
from model.training.variants import VARIANTS

BASELINE = "eszsl"
KNOWN = SYSTEMS | TUNED | VARIANTS
DIGITS = 4  # of an accuracy in the log


@dataclass(frozen=True)
class Row:
    """A system: means over seeds, and what it is ahead of the baseline and of the first system."""

    system: str
    seeds: int
    summary: dict[str, float]
    deviation: dict[str, float]  # over seeds
    over_baseline: dict[str, Difference] | None
    over_first: dict[str, Difference] | None


def fingerprint(config: TrainingConfig, data: ZeroShotData, count: int) -> str:
    """Of everything that a result follows from, but for system and seed."""
    attributes = (data.attribute_names, data.attribute_groups)
    digest = hashlib.sha256(repr((asdict(config), data.seen, count, attributes)).encode())
    digest.update(data.labels.tobytes())
    digest.update(data.class_attributes.tobytes())
    digest.update(data.train.tobytes())
    return digest.hexdigest()[:12]


def ablate(
    config: TrainingConfig,
    data: ZeroShotData,
    space: AttributeSpace,
    systems: Sequence[str],
    count: int,
    seeds: Sequence[int],
    log: Path,
    runs: Path,
    progress: Progress,
    report: Callable[[str], None],
) -> list[Row]:
    """Run what the log lacks, and compare.

    Args:
        count: folds.
        log: JSON lines; made if it isn't there.
        runs: the folder for caches.
    """
    key = fingerprint(config, data, count)
    network = fresh_network(config.model, space, len(data.seen), config.seed)
    store = extract(network, data, runs, progress)
    folder = runs / f"folds-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        known = read_log(log, key)
        missing = [system for system in systems if (system, seed) not in known]
        if not missing:
            continue
        found: dict[str, list[Any]] = {system: [] for system in missing}
        for number, task in enumerate(folds(data, count, seed)):
            fold = Fold(task, number, seed, data, space, store, config, folder)
            for system in missing:
                found[system].append(KNOWN[system](fold))
                report(f"seed {seed}, fold {number + 1} of {count}: {system}")
        for system in missing:
            result = Result.chosen(found[system])
            _append(log, data, key, system, seed, count, result)
            told = ", ".join(f"{k} {100 * v:.1f}" for k, v in result.summary().items())
            report(f"seed {seed}, {system}: {told}")
    return compare(read_log(log, key), systems, seeds)


def compare(
    known: dict[tuple[str, int], Result], systems: Sequence[str], seeds: Sequence[int]
) -> list[Row]:
    """One row a system, over the seeds that all of them have; the first is what the others are held
    against."""
    shared = [seed for seed in seeds if all((system, seed) in known for system in systems)]
    results = {system: [known[system, seed] for seed in shared] for system in systems}

    def against(system: str, other: str) -> dict[str, Difference] | None:
        if system == other or other not in results or not shared:
            return None
        return paired_difference(results[system], results[other])

    rows = []
    for system in systems if shared else ():
        summaries = [result.summary() for result in results[system]]
        means = {k: sum(s[k] for s in summaries) / len(summaries) for k in summaries[0]}
        spread = {
            k: (sum((s[k] - means[k]) ** 2 for s in summaries) / len(summaries)) ** 0.5
            for k in means
        }
        rows.append(
            Row(
                system,
                len(shared),
                means,
                spread,
                against(system, BASELINE),
                against(system, systems[0]),
            )
        )
    return rows


def read_log(log: Path, key: str) -> dict[tuple[str, int], Result]:
    """(system, seed) -> its result, of the lines with this fingerprint; a line that a killed
    process left half written is passed over."""
    found = {}
    if log.is_file():
        for line in log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("fingerprint") == key:
                found[entry["system"], entry["seed"]] = Result(**entry["result"])
    return found


def _append(
    log: Path,
    data: ZeroShotData,
    key: str,
    system: str,
    seed: int,
    count: int,
    result: Result,
) -> None:
    def rounded(values: dict[str, float]) -> dict[str, float]:
        return {name: round(value, DIGITS) for name, value in values.items()}

    entry = {
        "what": "folds",
        "data": data.name,
        "fingerprint": key,
        "system": system,
        "seed": seed,
        "folds": count,
        "summary": rounded(result.summary()),
        "result": {
            "czsl": rounded(result.czsl),
            "u": rounded(result.u),
            "s": rounded(result.s),
            "ausuc": round(result.ausuc, DIGITS),
        },
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # half a line
                file.write(b"\n")
        file.write(json.dumps(entry).encode() + b"\n")
