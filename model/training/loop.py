"""Gradient training of MIM on cached features, one checkpoint an epoch.

Everything random in an epoch follows from (seed, epoch), so a run that is killed and resumed ends
where an uninterrupted one does.
"""

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.nn.umzero import UMZero
from model.training.checkpoint import load_state, save_state
from model.training.config import MIMTrainingConfig
from model.training.losses import classification_loss, prototype_contrastive_loss

log = logging.getLogger(__name__)

Maps = dict[str, Tensor]
AfterEpoch = Callable[[int, float], Any]  # finished epochs, mean loss -> a JSON record to keep


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
) -> list[Any]:
    """Train `network.mim` in place; its own embedding has to classify the training classes.

    The schedule is that of `config.epochs` epochs whatever `epochs` says, so that fewer epochs are
    a prefix of more.

    Args:
        maps: {stage: (N, C, h, w)} of the training images, all views.
        labels: (N,), rows of `class_attributes`.
        class_attributes: (C, A), sheets.
        epochs: how many to run.
        checkpoint: the resumable state's file.
        after_epoch: called after each epoch, with the network in eval mode.

    Returns:
        What `after_epoch` returned, one record an epoch, those of earlier calls included.
    """
    mim = network.mim
    assert mim is not None
    with torch.no_grad():
        prototypes = network.prototypes(class_attributes)
    optimizer = torch.optim.AdamW(
        mim.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    state = load_state(checkpoint, mim, optimizer) or {"epoch": 0, "records": []}
    per_epoch = len(labels) // min(config.batch_size, len(labels))
    for epoch in range(state["epoch"], epochs):
        torch.manual_seed(seed * 100_003 + epoch)
        mim.train()
        losses = []
        for step, rows in enumerate(_batches(len(labels), config.batch_size)):
            rate = _rate(epoch * per_epoch + step, config.epochs * per_epoch, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate
            share, partners = _mixture(len(rows), config.mixup)
            mixed = {stage: _mix(m[rows], share, partners) for stage, m in maps.items()}
            embedding = network.local_embedding(mim(mixed).attributes)
            loss = share * losses_of(embedding, labels[rows], prototypes, config)
            if share < 1:
                mates = labels[rows[partners]]
                loss = loss + (1 - share) * losses_of(embedding, mates, prototypes, config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(mim.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        mim.eval()
        mean = sum(losses) / len(losses)
        log.info("epoch finished", extra={"epoch": epoch + 1, "loss": mean})
        state = {"epoch": epoch + 1, "records": [*state["records"], after_epoch(epoch + 1, mean)]}
        save_state(checkpoint, mim, optimizer, state)
    mim.eval()
    records: list[Any] = state["records"]
    return records


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


def _mix(maps: Tensor, share: float, partners: Tensor) -> Tensor:
    return maps if share == 1 else share * maps + (1 - share) * maps[partners]


def _batches(count: int, size: int) -> Iterator[Tensor]:
    size = min(size, count)
    order = torch.randperm(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero: in [0, 1]."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
