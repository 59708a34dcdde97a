"""Partial fine-tuning: the backbone's last blocks learn too, from the maps where they begin.

The maps of the last frozen stage are in the features' cache already, so that no photograph is
decoded and no early block computed again. Batch normalisations are folded into their convolutions
first: the few images of a batch are no measure for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.nn.backbone import Backbone, fold_batch_norm
from model.nn.umzero import Features, UMZero
from model.training.features import FeatureStore
from model.training.losses import classification_loss


@dataclass(frozen=True)
class FineTuning:
    """How. `half_way`: the share of the way from the pretrained weights to the tuned ones that is
    tried besides, after the last epoch (Wortsman et al., CVPR 2022, arXiv:2109.01903)."""

    stage: str  # the last one that stays as it is
    epochs: int = 3
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    batch_size: int = 64
    half_way: float = 0.5


def fine_tune(
    network: UMZero,
    store: FeatureStore,
    rows: NDArray[np.int64],
    labels: Tensor,
    prototypes: Tensor,
    config: FineTuning,
    temperature: float,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train the blocks behind a stage, and the global head, to classify by the prototypes.

    Yields after each epoch, and once more half way: (epochs, share of the way), with the network as
    it then is, for `features_of` to be called.

    Args:
        network: with a fitted global head; its backbone, a folded copy, and its head are changed.
        rows: of the store, (N,), to train on.
        labels: (N,), rows of `prototypes` (C, D).
    """
    network.backbone = cast(Backbone, fold_batch_norm(network.backbone))
    learned = _behind(network, config.stage)
    start = [parameter.detach().clone() for parameter in learned]
    optimizer = torch.optim.AdamW(
        learned, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for epoch in range(1, config.epochs + 1):
        torch.manual_seed(seed * 100_003 + epoch)
        for batch in torch.split(torch.randperm(len(rows)), config.batch_size):
            features = _resumed(network, store, rows[batch.numpy()], config.stage)
            embedding = network.global_embedding(features)
            loss = classification_loss(embedding, labels[batch], prototypes, temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield epoch, 1.0
    with torch.no_grad():
        for before, parameter in zip(start, learned, strict=True):
            parameter.copy_(torch.lerp(before, parameter, config.half_way))
    yield config.epochs, config.half_way


@torch.no_grad()
def features_of(
    network: UMZero, store: FeatureStore, rows: NDArray[np.int64], config: FineTuning
) -> FeatureStore:
    """The store with the network's own features in some rows; nothing must read the others."""
    pooled = np.full_like(store.pooled, np.nan)
    maps: dict[str, NDArray[np.float16]] = {}
    for part in np.split(rows, range(config.batch_size, len(rows), config.batch_size)):
        found = _resumed(network, store, part, config.stage)
        pooled[part] = found.pooled.numpy()
        for stage in found.maps.keys() - {config.stage}:
            if stage not in maps:
                maps[stage] = np.full_like(store.maps[stage], np.nan)
            maps[stage][part] = found.maps[stage].numpy()
    # As they are, up to this stage.
    frozen = {stage: values for stage, values in store.maps.items() if stage not in maps}
    return FeatureStore(pooled, frozen | maps, store.second)


def _behind(network: UMZero, stage: str) -> list[nn.Parameter]:
    """What learns: the parameters that a stage's map doesn't depend on, and the global head's."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    modules = nn.ModuleList(network.backbone.behind(stage).values())
    learned = [*modules.parameters(), *network.global_head.parameters()]
    for parameter in learned:
        parameter.requires_grad_(True)
    return learned


def _resumed(network: UMZero, store: FeatureStore, rows: NDArray[np.int64], stage: str) -> Features:
    start = torch.from_numpy(np.asarray(store.maps[stage][rows], np.float32))
    maps = network.backbone.resume(stage, start)
    deepest = maps[network.config.backbone.stages[-1]]
    pooled = functional.avg_pool2d(deepest, deepest.shape[2:]).flatten(1)
    kept = {name: m for name, m in maps.items() if name in store.maps}
    return Features(pooled, {stage: start, **kept})
