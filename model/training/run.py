"""One training run, from photographs to a bundle that has passed its checks.

features of the frozen backbone (cached) -> choices on validation classes -> all seen classes ->
attribute head -> safetensors, ONNX, parity -> one scoring of the test images -> manifest, report.
Several processes share what comes before the attribute head; from there on the main one is alone.
Killed at any moment, the same command goes on from the last finished step.
"""

import json
import logging
import shutil
from dataclasses import asdict, replace

import numpy as np
import torch

from model import bundle as bundles
from model.bundle import Bundle, BundleClass, Manifest
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.export import parity as parities
from model.export.onnx import export
from model.export.parity import Parity
from model.nn.umzero import UMZero
from model.place import put, rewritten
from model.runtime.base import F32, U8
from model.runtime.torch_backend import WEIGHTS
from model.training.calibration import Calibration, calibrate
from model.training.checkpoint import save_network
from model.training.evaluate import Evaluation, evaluate
from model.training.events import Events
from model.training.features import FeatureStore, extract
from model.training.heads import (
    GlobalHead,
    fit_attribute_head,
    training_set,
)
from model.training.history import read_history
from model.training.loop import train_mim
from model.training.report import RunReport
from model.training.same_training import check_same_choice, check_same_training
from model.training.selection import Choice, choose, embedding_of, validation_task
from model.training.training_run import TrainingRun, check

log = logging.getLogger(__name__)

PARITY_IMAGES = 16
# Resumable states of MIM's two trainings.
CHOOSING = "validation.safetensors"
FINAL = "final.safetensors"


def train(run: TrainingRun) -> Bundle:
    """Train and write the bundle `run.out` and the report `run.page`.

    Raises:
        ConfigError: the bundle's place isn't free (`TrainingRun.place`).
        DatasetError: too few classes or images.
        ParityError: the exported graphs differ from the network; no bundle is written.
    """
    check(run.data)
    run.folder.mkdir(parents=True, exist_ok=True)
    events = Events(run.folder / "events", run.report, run.processes.is_main)
    with run.bar("features") as progress:
        network = run.network(len(run.data.seen))
        store = extract(network, run.data, run.runs, progress, run.processes)
    choice = _choice(run, store, events)
    run.report(f"chosen: {choice}")
    _fit(run, network, store, choice, events)

    def finish() -> Bundle:
        bundle, evaluation = _write(run, network, choice, _calibration(run, choice))
        histories = (read_history(run.folder / name) for name in (CHOOSING, FINAL))
        RunReport(bundle, evaluation, *histories).write(run.page)
        return bundle

    return run.processes.from_main(finish)


def calibrate_again(run: TrainingRun) -> Bundle:
    """Decide the manifest's `calibration` anew, for the bundle `run.out`, without training it.

    Raises:
        ConfigError: the bundle is of another training.
        DatasetError: too few classes or images.
        WeightsError: no bundle there.
    """
    check(run.data)
    bundle = bundles.read(run.out)
    network = run.network(len(run.data.seen))
    check_same_training(bundle, run, network)
    run.folder.mkdir(parents=True, exist_ok=True)
    with run.bar("features") as progress:
        store = extract(network, run.data, run.runs, progress)
    choice = _choice(run, store, Events(run.folder / "events", run.report))
    check_same_choice(bundle, choice)
    calibration = _calibration(run, choice)
    manifest = replace(bundle.manifest, calibration=calibration.to_json())
    with rewritten(run.place) as new:
        bundles.write(new, manifest, bundle.classes)
    return bundles.read(run.out)


def _calibration(run: TrainingRun, choice: Choice) -> Calibration:
    """On what `choose` embedded, by the prototypes that it used."""
    task = validation_task(run.data)
    embedding = embedding_of(choice, run.folder)
    assert embedding is not None  # `_choice` sees to that
    unit = run.network(len(task.trained)).prototype_unit
    sheets = torch.from_numpy(run.data.class_attributes)
    unit.start_from_classes(sheets[list(task.trained)])
    prototypes: F32 = unit(sheets[list(task.classes)]).detach().numpy()
    return calibrate(embedding, prototypes, task, choice.gamma, choice.temperature)


def _choice(run: TrainingRun, store: FeatureStore, events: Events) -> Choice:
    decided = run.folder / "choice.json"

    def known() -> Choice | None:
        if decided.is_file():
            choice = Choice(**json.loads(decided.read_text()))
            if embedding_of(choice, run.folder) is not None:
                return choice
            (run.folder / CHOOSING).unlink(missing_ok=True)
        return None

    kept = run.processes.from_main(known)
    if kept is not None:
        return kept
    network = run.network(len(run.data.seen) - len(run.data.validation))
    with events.of("validation") as watch:
        choice = choose(
            network, run.data, store, run.config, run.folder, run.report, watch, run.processes
        )
    if run.processes.is_main:
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
                processes=run.processes,
            )
        network.cpu()
    if run.processes.is_main:
        fit_attribute_head(network, training)


def _write(
    run: TrainingRun, network: UMZero, choice: Choice, calibration: Calibration
) -> tuple[Bundle, Evaluation | None]:
    """Build the bundle beside its place, check it, score it, and only then put it there."""
    new = run.folder / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    save_network(network, new / WEIGHTS)
    export(network, new)
    parity = parities.check(network, new, *parity_inputs(network, run.data))
    run.report(f"ONNX equals torch: {parity}")

    manifest = _manifest(run, network, choice, calibration, parity)
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
    put(new, run.place)
    log.info("bundle written", extra={"bundle": run.place.name, "sha256": bundle.sha256})
    return bundles.read(run.out), evaluation


def _manifest(
    run: TrainingRun, network: UMZero, choice: Choice, calibration: Calibration, parity: Parity
) -> Manifest:
    return Manifest(
        name=run.place.name,
        network=network.config.to_json(),
        input_size=network.config.backbone.input_size,
        embedding_dim=network.config.prototypes.embedding_dim,
        grid=network.grid,
        attributes=run.space,
        temperature=choice.temperature,
        gamma=choice.gamma / choice.temperature,
        training={
            **run.told,
            "chosen_on_validation": asdict(choice),
            "parity": asdict(parity),
        },
        licence=run.config.licence,
        calibration=calibration.to_json(),
    )


def parity_inputs(network: UMZero, data: ZeroShotData) -> tuple[U8, F32]:
    """Some of the training images, spread over the classes, and all sheets."""
    count = min(PARITY_IMAGES, len(data.train))
    chosen = data.train[np.linspace(0, len(data.train) - 1, count).astype(int)]
    size = network.config.backbone.input_size
    dataset = ImageDataset([data.images[i] for i in chosen], size)
    images = np.stack([dataset[i].numpy() for i in range(len(dataset))])
    return images, data.class_attributes
