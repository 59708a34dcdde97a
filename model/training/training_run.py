"""`TrainingRun`: what one run is told, and where it keeps its states."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model.data.types import ZeroShotData
from model.errors import ConfigError, DatasetError
from model.nn.umzero import UMZero
from model.place import place_of
from model.sheets import AttributeSpace
from model.training.config import TrainingConfig
from model.training.features import Progress, cache_key
from model.training.heads import fresh_network
from model.training.processes import ALONE, Processes

Bar = Callable[[str], AbstractContextManager[Progress]]  # a title -> a progress bar
Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What a run needs to know.

    Attributes:
        out: where the bundle goes.
        runs: the folder for caches and resumable states.
        command: what measures the scores, for the manifest.
        bar, report: progress, for people.
        processes: that train together, each with a run like this one.
    """

    config: TrainingConfig
    data: ZeroShotData
    out: Path
    runs: Path
    command: str
    bar: Bar
    report: Report
    processes: Processes = ALONE

    @cached_property
    def space(self) -> AttributeSpace:
        return attribute_space(self.data)

    @cached_property
    def place(self) -> Path:
        """Where the bundle is written: what `out` points to.

        Raises:
            ConfigError: something that is no bundle is there, or these states would be.
        """
        place = place_of(self.out)
        if self.runs.resolve().is_relative_to(place):
            raise ConfigError(
                f"the states in {self.runs} would be lost when the bundle is put at {self.out}; "
                "keep them elsewhere"
            )
        return place

    @cached_property
    def folder(self) -> Path:
        """This run's own states: another configuration, another image or label, other attributes
        or groups of them mean another folder."""
        digest = hashlib.sha256(cache_key(self.config.model, self.data).encode())
        digest.update(repr(self.config).encode())
        digest.update(self.data.class_attributes.tobytes())
        digest.update(self.data.labels.tobytes())
        attributes = (self.data.attribute_names, self.data.attribute_groups)
        digest.update(repr(attributes).encode())
        splits = (self.data.seen, self.data.validation, self.data.train.tolist())
        digest.update(repr(splits).encode())
        return self.runs / f"{self.place.name}-{digest.hexdigest()[:12]}"

    @property
    def told(self) -> dict[str, Any]:
        """What a bundle's manifest tells of its training, beside what was found in it."""
        return {
            "data": self.data.name,
            "seen_classes": len(self.data.seen),
            "images": len(self.data.train),
            "seed": self.config.seed,
            **({"mim": asdict(self.config.mim)} if self.config.model.mim.enabled else {}),
        }

    @property
    def page(self) -> Path:
        """Where the report goes."""
        return self.folder / "report.html"

    def forget(self) -> None:
        """Drop this run's states, and with them its report; the features stay, other runs have
        the same."""
        if self.folder.exists():
            # Killed halfway, a part of the states must not look like all of them.
            dropped = self.folder.with_name(f"{self.folder.name}.dropped")
            shutil.rmtree(dropped, ignore_errors=True)
            self.folder.rename(dropped)
            shutil.rmtree(dropped)

    def network(self, classes: int) -> UMZero:
        """See `heads.fresh_network`."""
        return fresh_network(self.config.model, self.space, classes, self.config.seed)


def attribute_space(data: ZeroShotData) -> AttributeSpace:
    """The data's attributes, one token a group, with the seen classes' mean sheet."""
    groups = {group: i for i, group in enumerate(dict.fromkeys(data.attribute_groups))}
    return AttributeSpace(
        names=data.attribute_names,
        groups=data.attribute_groups,
        tokens=tuple(groups[group] for group in data.attribute_groups),
        minimum=data.minimum,
        maximum=data.maximum,
        mean=data.class_attributes[list(data.seen)].mean(axis=0).astype(np.float32),
    )


def check(data: ZeroShotData) -> None:
    problems = []
    if len(data.seen) - len(data.validation) < 3:
        problems.append(f"{len(data.seen) - len(data.validation)} classes to train on, at least 3")
    if len(data.validation) < 2:
        problems.append(f"{len(data.validation)} validation classes, at least 2")
    if problems:
        raise DatasetError(f"{data.name} is too small to train on", tuple(problems))
