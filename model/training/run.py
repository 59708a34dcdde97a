"""One training run, from photographs to a bundle that has passed its checks.

features of the frozen backbone (cached) -> choices on validation classes -> all seen classes ->
attribute head -> safetensors, ONNX, parity -> one scoring of the test images -> manifest.
Killed at any moment, the same command goes on from the last finished step.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from model import bundle as bundles
from model.bundle import Bundle, BundleClass, Manifest
from model.data.types import ZeroShotData
from model.errors import DatasetError
from model.export.onnx import export
from model.export.parity import check
from model.nn.umzero import AttributeLayout, UMZero
from model.preprocess import to_input
from model.runtime.base import F32, U8
from model.runtime.torch_backend import WEIGHTS
from model.sheets import AttributeSpace
from model.training.checkpoint import save_network
from model.training.config import TrainingConfig
from model.training.evaluate import evaluate
from model.training.features import MAX_PIXELS, FeatureStore, Progress, cache_key, extract
from model.training.heads import (
    GlobalHead,
    fit_attribute_head,
    scale_visual_tokens,
    training_set,
)
from model.training.loop import train_mim
from model.training.selection import Choice, choose

log = logging.getLogger(__name__)

PARITY_IMAGES = 16

Bar = Callable[[str], AbstractContextManager[Progress]]  # a title -> a progress bar
Report = Callable[[str], None]


def train(
    config: TrainingConfig,
    data: ZeroShotData,
    out: Path,
    runs: Path,
    command: str,
    bar: Bar,
    report: Report,
) -> Bundle:
    """Train and write the bundle `out`.

    Args:
        runs: the folder for caches and resumable states.
        command: what measures the scores, for the manifest.
        bar, report: progress, for people.

    Raises:
        DatasetError: too few classes or images.
        ParityError: the exported graphs differ from the network; no bundle is written.
    """
    _check(data)
    torch.manual_seed(config.seed)
    space = attribute_space(data)
    layout = AttributeLayout.of(space)
    key = _run_key(config, data)
    folder = runs / f"{out.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)

    network = UMZero(config.model, layout)
    with bar("features") as progress:
        store = extract(network, data.images, runs, progress)

    decided = folder / "choice.json"
    if decided.is_file():
        choice = Choice(**json.loads(decided.read_text()))
    else:
        kept = len(data.seen) - len(data.validation)
        choice = choose(
            _fresh(config, layout, kept), data, store, config, folder, report
        )
        decided.write_text(json.dumps(asdict(choice)))
    report(f"chosen: {choice}")

    network = _fresh(config, layout, len(data.seen))
    _fit(network, data, store, config, choice, folder, report)
    return _write(network, data, space, config, choice, out, folder, command, bar, report)


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


def _fresh(config: TrainingConfig, layout: AttributeLayout, classes: int) -> UMZero:
    """A network with an embedding no wider than its training classes can span."""
    span = min(config.model.prototypes.embedding_dim, classes - 1, len(layout.groups))
    prototypes = replace(config.model.prototypes, embedding_dim=span)
    torch.manual_seed(config.seed)
    return UMZero(replace(config.model, prototypes=prototypes), layout).eval()


def _fit(
    network: UMZero,
    data: ZeroShotData,
    store: FeatureStore,
    config: TrainingConfig,
    choice: Choice,
    folder: Path,
    report: Report,
) -> None:
    training = training_set(data, store, data.seen)
    GlobalHead(network, training).fit(choice.image_ridge, choice.class_ridge)
    if network.mim is not None:
        scale_visual_tokens(network, training.features)
        network.mim_weight.fill_(choice.mim_weight)
        train_mim(
            network,
            training.features.maps,
            training.labels,
            training.class_attributes,
            config.mim,
            choice.epochs,
            config.seed,
            folder / "final.safetensors",
            lambda epoch, loss: report(f"MIM on all seen classes, epoch {epoch}: loss {loss:.3f}"),
        )
    fit_attribute_head(network, training)


def _write(
    network: UMZero,
    data: ZeroShotData,
    space: AttributeSpace,
    config: TrainingConfig,
    choice: Choice,
    out: Path,
    folder: Path,
    command: str,
    bar: Bar,
    report: Report,
) -> Bundle:
    """Build the bundle beside its place, check it, score it, and only then put it there."""
    new = folder / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    save_network(network, new / WEIGHTS)
    export(network, new)
    parity = check(network, new, *parity_inputs(network, data))
    report(f"ONNX equals torch: {parity}")
    manifest = Manifest(
        name=out.name,
        network=network.config.to_json(),
        input_size=network.config.backbone.input_size,
        embedding_dim=network.config.prototypes.embedding_dim,
        grid=network.grid,
        attributes=space,
        temperature=choice.temperature,
        gamma=choice.gamma / choice.temperature,
        training={
            "data": data.name,
            "seen_classes": len(data.seen),
            "images": len(data.train),
            "seed": config.seed,
            "chosen_on_validation": asdict(choice),
            "parity": asdict(parity),
        },
        licence=config.licence,
    )
    classes = tuple(
        BundleClass(data.class_names[c], data.display_names[c], tuple(data.class_attributes[c]))
        for c in data.seen
    )
    bundle = bundles.write(new, manifest, classes)
    if len(data.test_seen) and len(data.test_unseen):
        with bar("test images") as progress:
            result = evaluate(bundle, data, baseline=True, progress=progress)
        scores = {**result.to_json(), "command": command}
        bundle = bundles.write(new, replace(manifest, scores=scores), classes)
    if out.exists():
        shutil.rmtree(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(new, out)
    log.info("bundle written", extra={"bundle": str(out), "sha256": bundle.sha256})
    return bundles.read(out)


def parity_inputs(network: UMZero, data: ZeroShotData) -> tuple[U8, F32]:
    """Some of the data's images, spread over its classes, and all of its sheets."""
    chosen = np.linspace(0, len(data.images) - 1, min(PARITY_IMAGES, len(data.images))).astype(int)
    size = network.config.backbone.input_size
    images = np.stack([to_input(data.images[i].read_bytes(), size, MAX_PIXELS) for i in chosen])
    return images, data.class_attributes


def _run_key(config: TrainingConfig, data: ZeroShotData) -> str:
    digest = hashlib.sha256(cache_key(config.model, data.images).encode())
    digest.update(repr(config).encode())
    digest.update(data.class_attributes.tobytes())
    digest.update(repr((data.seen, data.validation, data.train.tolist())).encode())
    return digest.hexdigest()[:12]


def _check(data: ZeroShotData) -> None:
    problems = []
    if len(data.seen) - len(data.validation) < 3:
        problems.append(f"{len(data.seen) - len(data.validation)} classes to train on, at least 3")
    if len(data.validation) < 2:
        problems.append(f"{len(data.validation)} validation classes, at least 2")
    if problems:
        raise DatasetError(f"{data.name} is too small to train on", tuple(problems))

