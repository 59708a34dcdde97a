"""Gradient training of MIM on cached features, one checkpoint an epoch.

Everything random in an epoch follows from (seed, epoch), so a run that is killed and resumed ends
where an uninterrupted one does. Of several processes each has its share of every batch, and the
gradient is that of the whole (`model.training.processes`).
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.nn.umzero import UMZero
from model.training.checkpoint import load_state, save_state
from model.training.config import MIMTrainingConfig
from model.training.history import Epoch, Watch, from_json
from model.training.losses import classification_loss, prototype_contrastive_loss
from model.training.processes import ALONE, Processes

log = logging.getLogger(__name__)

Maps = dict[str, Tensor]
AfterEpoch = Callable[[int, float], Any]  # finished epochs, mean loss -> a JSON record to keep
Stop = Callable[[list[Any]], bool]


def train_mim(
    network: UMZero,
    maps: Maps,
    labels: Tensor,
    class_attributes: Tensor,
    config: MIMTrainingConfig,
    epochs: int,
    seed: int,
    checkpoint: Path,
    after_epoch: AfterEpoch = lambda *_: None,
    stop: Stop = lambda _: False,
    watch: Watch = lambda _: None,
    processes: Processes = ALONE,
) -> list[Any]:
    """Train `network.mim` in place; its own embedding has to classify the training classes.

    The schedule is that of `config.epochs` epochs whatever `epochs` says, so that fewer epochs are
    a prefix of more. A step's gradient is that of `batch_size * accumulate` images at once, except
    that the contrastive loss sees only the images of its own batch.

    Args:
        maps: {stage: (N, C, h, w)} of the training images, all views.
        labels: (N,), rows of `class_attributes`.
        class_attributes: (C, A), sheets.
        epochs: how many to run, at most.
        checkpoint: the resumable state's file.
        after_epoch: called after each epoch, in every process, with the network in eval mode.
        stop: asked before each epoch with all records so far; true ends the training. It follows
            from what the state holds alone, so a run that is resumed stops where it would have.
        watch: told of all epochs at the start, and after each epoch once its state is saved.
        processes: that train together; they leave the network on their device.

    Returns:
        What `after_epoch` returned, one record an epoch, those of earlier calls included.
    """
    mim = network.mim
    assert mim is not None
    processes.place(network)
    device = network.mim_weight.device
    with torch.no_grad():
        prototypes = network.prototypes(class_attributes.to(device))
    optimizer = torch.optim.AdamW(
        mim.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history = from_json(load_state(checkpoint, mim, optimizer))
    shared = processes.averaged(mim)
    watch(history)
    size = min(config.batch_size * config.accumulate, len(labels))
    per_epoch = len(labels) // size

    def gradient_of(rows: Tensor) -> float:
        """Add the gradient of one step's images; returns their loss."""
        share, partners = _mixture(len(rows), config.mixup)
        total = 0.0
        parts = min(config.accumulate, len(rows))
        for part, mates in zip(
            rows.tensor_split(parts), rows[partners].tensor_split(parts), strict=True
        ):
            own, others = processes.share(part), processes.share(mates)
            mixed = {stage: _mix(m, own, share, others).to(device) for stage, m in maps.items()}
            with (
                processes.own_randomness(),
                torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"),
            ):
                embedding = processes.gather(
                    network.local_embedding(shared(mixed).slots), len(part)
                )
                loss = share * losses_of(embedding, labels[part].to(device), prototypes, config)
                if share < 1:
                    loss = loss + (1 - share) * losses_of(
                        embedding, labels[mates].to(device), prototypes, config
                    )
            loss = loss * (len(part) / len(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    while len(history) < epochs and not stop([epoch.record for epoch in history]):
        done = len(history)
        processes.seed(seed * 100_003 + done)
        mim.train()
        losses, rates = [], []
        for step, rows in enumerate(_batches(len(labels), size)):
            rate = config.learning_rate * _rate(
                done * per_epoch + step, config.epochs * per_epoch, config.warmup
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            losses.append(gradient_of(rows))
            rates.append(rate)
            torch.nn.utils.clip_grad_norm_(mim.parameters(), 1.0)
            optimizer.step()
        mim.eval()
        mean = sum(losses) / len(losses)
        log.info("epoch finished", extra={"epoch": done + 1, "loss": mean})
        record = processes.agreed(after_epoch(done + 1, mean))
        history = (*history, Epoch(tuple(losses), tuple(rates), record))
        if processes.is_main:
            extra = {"epochs": [asdict(epoch) for epoch in history]}
            save_state(checkpoint, mim, optimizer, extra)
        watch(history)
    mim.eval()
    return [epoch.record for epoch in history]


def losses_of(
    embedding: Tensor, labels: Tensor, prototypes: Tensor, config: MIMTrainingConfig
) -> Tensor:
    """Classification, and with a weight the prototype contrastive loss."""
    loss = classification_loss(embedding, labels, prototypes, config.temperature)
    if config.contrastive_weight:
        loss = loss + config.contrastive_weight * prototype_contrastive_loss(
            embedding, labels, prototypes, config.temperature
        )
    return loss


def _mixture(count: int, mixup: float) -> tuple[float, Tensor]:
    """How much of an image is itself, and which one the rest comes from: mixup (Zhang et al., ICLR
    2018, arXiv:1710.09412) with Beta(mixup, mixup); 0 mixes nothing."""
    if not mixup:
        return 1.0, torch.arange(count)
    concentration = torch.tensor(mixup)
    share = torch.distributions.Beta(concentration, concentration).sample().item()
    return share, torch.randperm(count)


def _mix(maps: Tensor, rows: Tensor, share: float, mates: Tensor) -> Tensor:
    return maps[rows] if share == 1 else share * maps[rows] + (1 - share) * maps[mates]


def _batches(count: int, size: int) -> Iterator[Tensor]:
    order = torch.randperm(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero: in [0, 1]."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
