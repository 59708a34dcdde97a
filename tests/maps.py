"""A small problem for MIM's training: maps drawn at random, in which the class can be seen."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from model.nn.umzero import AttributeLayout, UMZero
from tests.networks import CONFIG

GROUPS = (0, 0, 0, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Problem:
    """What `train_mim` is given first."""

    network: UMZero
    maps: dict[str, Tensor]
    labels: Tensor
    class_attributes: Tensor

    def arguments(self) -> tuple[Any, ...]:
        return self.network, self.maps, self.labels, self.class_attributes


def problem(images: int, dropout: float = 0.1, device: str = "cpu") -> Problem:
    """The same at every call; its network is untrained."""
    torch.manual_seed(0)
    config = replace(CONFIG, mim=replace(CONFIG.mim, dropout=dropout))
    layout = AttributeLayout(GROUPS, torch.zeros(len(GROUPS)), torch.full((len(GROUPS),), 100.0))
    network = UMZero(config, layout, pretrained=False)
    sheets = torch.zeros(9, len(GROUPS))
    for row in range(len(sheets)):
        sheets[row, row // 3] = sheets[row, 3 + row % 3] = 100
    network.prototype_unit.start_from_classes(sheets)
    labels = torch.arange(images) % len(sheets)
    channels = dict(zip(config.backbone.stages, network.backbone.channels, strict=True))
    assert network.mim is not None
    maps = {}
    for stage in network.mim.stages:
        look = torch.randn(len(sheets), channels[stage], 1, 1)
        noise = torch.randn(images, channels[stage], *network.grids[stage])
        maps[stage] = (look[labels] + noise).to(device)
    return Problem(network.eval().to(device), maps, labels.to(device), sheets.to(device))
