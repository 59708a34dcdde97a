"""One training run, from photographs to a bundle that has passed its checks.

features of the frozen backbone (cached) -> choices on validation classes -> all seen classes ->
attribute head -> safetensors, ONNX, parity -> one scoring of the test images -> manifest, report.
Killed at any moment, the same command goes on from the last finished step.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from model import bundle as bundles
from model.bundle import Bundle, BundleClass, Manifest
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.errors import DatasetError
from model.export.onnx import export
from model.export.parity import Parity, check
from model.nn.umzero import UMZero
from model.runtime.base import F32, U8
from model.runtime.torch_backend import WEIGHTS
from model.sheets import AttributeSpace
from model.training.checkpoint import save_network
from model.training.config import TrainingConfig
from model.training.evaluate import Evaluation, evaluate
from model.training.events import Events
from model.training.features import FeatureStore, Progress, cache_key, extract
from model.training.heads import (
    GlobalHead,
    fit_attribute_head,
    fresh_network,
    training_set,
)
from model.training.history import read_history
from model.training.loop import train_mim
from model.training.report import RunReport
from model.training.selection import Choice, choose

log = logging.getLogger(__name__)

PARITY_IMAGES = 16
# Resumable states of MIM's two trainings.
CHOOSING = "validation.safetensors"
FINAL = "final.safetensors"

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
    """

    config: TrainingConfig
    data: ZeroShotData
    out: Path
    runs: Path
    command: str
    bar: Bar
    report: Report

    @cached_property
    def space(self) -> AttributeSpace:
        return attribute_space(self.data)

    @cached_property
    def folder(self) -> Path:
        """This run's own states: another configuration or another image means another folder."""
        digest = hashlib.sha256(cache_key(self.config.model, self.data).encode())
        digest.update(repr(self.config).encode())
        digest.update(self.data.class_attributes.tobytes())
        splits = (self.data.seen, self.data.validation, self.data.train.tolist())
        digest.update(repr(splits).encode())
        return self.runs / f"{self.out.name}-{digest.hexdigest()[:12]}"

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


def train(run: TrainingRun) -> Bundle:
    """Train and write the bundle `run.out` and the report `run.page`.

    Raises:
        DatasetError: too few classes or images.
        ParityError: the exported graphs differ from the network; no bundle is written.
    """
    _check(run.data)
    run.folder.mkdir(parents=True, exist_ok=True)
    events = Events(run.folder / "events", run.report)
    with run.bar("features") as progress:
        network = run.network(len(run.data.seen))
        store = extract(network, run.data, run.runs, progress)
    choice = _choice(run, store, events)
    run.report(f"chosen: {choice}")
    _fit(run, network, store, choice, events)
    bundle, evaluation = _write(run, network, choice)
    histories = (read_history(run.folder / name) for name in (CHOOSING, FINAL))
    RunReport(bundle, evaluation, *histories).write(run.page)
    return bundle


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


def _choice(run: TrainingRun, store: FeatureStore, events: Events) -> Choice:
    decided = run.folder / "choice.json"
    if decided.is_file():
        return Choice(**json.loads(decided.read_text()))
    network = run.network(len(run.data.seen) - len(run.data.validation))
    with events.of("validation") as watch:
        choice = choose(network, run.data, store, run.config, run.folder, run.report, watch)
    new = decided.with_suffix(".new")
    new.write_text(json.dumps(asdict(choice)))
    new.replace(decided)
    return choice


def _fit(
    run: TrainingRun, network: UMZero, store: FeatureStore, choice: Choice, events: Events
) -> None:
    training = training_set(run.data, store, run.data.seen)
    GlobalHead(network, training).fit(choice.image_ridge, choice.class_ridge)
    if network.mim is not None:
        network.mim.scale_visual_tokens(training.features.maps)
        network.mim_weight.fill_(choice.mim_weight)
        with events.of("final") as watch:
            train_mim(
                network,
                training.features.maps,
                training.labels,
                training.class_attributes,
                run.config.mim,
                choice.epochs,
                run.config.seed,
                run.folder / FINAL,
                lambda epoch, loss: run.report(f"MIM, all seen classes, epoch {epoch}: {loss:.3f}"),
                watch=watch,
            )
    fit_attribute_head(network, training)


def _write(run: TrainingRun, network: UMZero, choice: Choice) -> tuple[Bundle, Evaluation | None]:
    """Build the bundle beside its place, check it, score it, and only then put it there."""
    new = run.folder / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    save_network(network, new / WEIGHTS)
    export(network, new)
    parity = check(network, new, *parity_inputs(network, run.data))
    run.report(f"ONNX equals torch: {parity}")

    manifest = _manifest(run, network, choice, parity)
    data = run.data
    classes = tuple(
        BundleClass(data.class_names[c], data.display_names[c], tuple(data.class_attributes[c]))
        for c in data.seen
    )
    bundle = bundles.write(new, manifest, classes)
    evaluation = None
    if len(data.test_seen) and len(data.test_unseen):
        with run.bar("test images") as progress:
            evaluation = evaluate(bundle, data, baseline=True, progress=progress)
        scores = {**evaluation.to_json(), "command": run.command}
        bundle = bundles.write(new, replace(manifest, scores=scores), classes)
    bundles.put(new, run.out)
    log.info("bundle written", extra={"bundle": run.out.name, "sha256": bundle.sha256})
    return bundles.read(run.out), evaluation


def _manifest(run: TrainingRun, network: UMZero, choice: Choice, parity: Parity) -> Manifest:
    return Manifest(
        name=run.out.name,
        network=network.config.to_json(),
        input_size=network.config.backbone.input_size,
        embedding_dim=network.config.prototypes.embedding_dim,
        grid=network.grid,
        attributes=run.space,
        temperature=choice.temperature,
        gamma=choice.gamma / choice.temperature,
        training={
            "data": run.data.name,
            "seen_classes": len(run.data.seen),
            "images": len(run.data.train),
            "seed": run.config.seed,
            **({"mim": asdict(run.config.mim)} if network.mim is not None else {}),
            "chosen_on_validation": asdict(choice),
            "parity": asdict(parity),
        },
        licence=run.config.licence,
    )


def parity_inputs(network: UMZero, data: ZeroShotData) -> tuple[U8, F32]:
    """Some of the data's images, spread over its classes, and all of its sheets."""
    chosen = np.linspace(0, len(data.images) - 1, min(PARITY_IMAGES, len(data.images))).astype(int)
    size = network.config.backbone.input_size
    dataset = ImageDataset([data.images[i] for i in chosen], size)
    images = np.stack([dataset[i].numpy() for i in range(len(dataset))])
    return images, data.class_attributes


def _check(data: ZeroShotData) -> None:
    problems = []
    if len(data.seen) - len(data.validation) < 3:
        problems.append(f"{len(data.seen) - len(data.validation)} classes to train on, at least 3")
    if len(data.validation) < 2:
        problems.append(f"{len(data.validation)} validation classes, at least 2")
    if problems:
        raise DatasetError(f"{data.name} is too small to train on", tuple(problems))
