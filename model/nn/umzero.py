"""The whole network on one page: images -> CNN -> HGA, MIM -> one embedding; sheets -> prototypes.

    images ── backbone ── pooled map ──────────────┐
                 │                                 ├── global head ──┐
                 ├── HGA: covariances ─────────────┘                 ├── unit embedding (B, D)
                 └── MIM: visual + attribute tokens ── attributes ───┘
    sheets ── prototype unit ── unit prototypes (C, D)

The embedding never depends on the classes.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.errors import ConfigError
from model.nn.backbone import Backbone, build_backbone
from model.nn.foreground import Foreground
from model.nn.hga import HGA
from model.nn.mim import MIM
from model.nn.prototypes import PrototypeUnit
from model.nn.unit import unit_rows
from model.sheets import AttributeSpace


@dataclass(frozen=True, eq=False)
class AttributeLayout:
    """What the network must know of the attributes: (A,) each; `groups` are numbered from 0, and
    are the attribute tokens."""

    groups: tuple[int, ...]
    minimum: Tensor
    maximum: Tensor

    @classmethod
    def of(cls, space: AttributeSpace) -> Self:
        return cls(space.tokens, torch.from_numpy(space.minimum), torch.from_numpy(space.maximum))


class Output(NamedTuple):
    embedding: Tensor  # (B, D), unit rows
    attributes: Tensor  # (B, A), on the sheet's scale
    maps: Tensor  # (B, T, h, w), each summing to 1
    foreground: Tensor  # (B, h', w'), higher where the object is


class Features(NamedTuple):
    """What the frozen backbone yields for the heads; training caches these."""

    pooled: Tensor  # (B, C)
    maps: dict[str, Tensor]  # {stage: (B, C, h, w)}, what HGA and MIM read

    def rows(self, chosen: Tensor | slice) -> "Features":
        """Some of the images."""
        return Features(self.pooled[chosen], {s: m[chosen] for s, m in self.maps.items()})


class UMZero(nn.Module):
    """The network. `without` ("hga", "mim") zeroes that part's output: for ablation."""

    def __init__(
        self, config: ModelConfig, layout: AttributeLayout, pretrained: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = build_backbone(config.backbone, pretrained)
        stages = config.backbone.stages
        if absent := sorted(_stages_read(config) - set(stages)):
            raise ConfigError(f"the heads read the stages {absent}; the backbone yields {stages}")
        channels = dict(zip(stages, self.backbone.channels, strict=True))
        self.grids = dict(zip(stages, self.backbone.grids, strict=True))
        count, dim = len(layout.groups), config.prototypes.embedding_dim
        width = channels[stages[-1]]

        self.prototype_unit = PrototypeUnit(
            layout.groups, layout.minimum, layout.maximum, dim, config.prototypes.exponent
        )
        self.pooled_mean: Tensor
        self.mim_weight: Tensor
        self.register_buffer("pooled_mean", torch.zeros(width))
        self.register_buffer("mim_weight", torch.tensor(0.5))
        self.hga = HGA(config.hga, channels) if config.hga.enabled else None
        self.global_head = nn.Linear(width + (self.hga.width if self.hga else 0), dim, bias=False)
        self.mim = (
            MIM(config.mim, channels, self.grids, layout.groups) if config.mim.enabled else None
        )
        self.attribute_head = nn.Linear(dim, count)
        self.foreground = Foreground(*(self.grids[stage] for stage in config.foreground))
        self.tokens = max(layout.groups) + 1

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the attribute maps."""
        return self.mim.grid if self.mim else self.grids[self.config.backbone.stages[-1]]

    def features(self, images: Tensor) -> Features:
        """(B, S, S, 3) uint8 RGB -> what the heads read."""
        maps = self.backbone(images.permute(0, 3, 1, 2).float())
        named = dict(zip(self.config.backbone.stages, maps, strict=True))
        read = _stages_read(self.config)
        pooled = functional.avg_pool2d(maps[-1], maps[-1].shape[2:]).flatten(1)
        return Features(pooled, {s: named[s] for s in stages_in(named, read)})

    def first_order(self, pooled: Tensor) -> Tensor:
        """(B, C) -> (B, C): square root, unit length, not centred."""
        return unit_rows(pooled.clamp_min(1e-12).sqrt())

    def global_features(self, features: Features) -> Tensor:
        """(B, F): the first-order part and HGA's, centred, weighted by their number of kernels."""
        rows, centre = self._global_rows(features)
        weighted: Tensor = (rows - centre) / self._kernels**0.5
        return weighted

    def global_embedding(self, features: Features, without: str = "") -> Tensor:
        """(B, D) unit rows: `global_head(global_features)`, with centre and weights drawn into the
        head, where an exported graph has them as constants."""
        rows, centre = self._global_rows(features, without)
        weight = self.global_head.weight / self._kernels**0.5
        return unit_rows(functional.linear(rows, weight, -(weight @ centre)))

    @property
    def _kernels(self) -> int:
        return 1 + (len(self.hga.stages) if self.hga else 0)

    def _global_rows(self, features: Features, without: str = "") -> tuple[Tensor, Tensor]:
        """The kernels' unit vectors side by side (B, F), and their centre (F,)."""
        rows, centre = self.first_order(features.pooled), self.pooled_mean
        if self.hga is None:
            return rows, centre
        second = self.hga.vectors(features.maps)
        # HGA's own mean is that of its output, which has unit length over all stages.
        mean = self.hga.mean * len(self.hga.stages) ** 0.5
        if without == "hga":
            second = mean.expand_as(second)
        return torch.cat([rows, second], dim=-1), torch.cat([centre, mean])

    def local_embedding(self, attributes: Tensor) -> Tensor:
        """MIM's predicted attributes (B, A) -> (B, D) unit rows, as the prototypes are made."""
        return unit_rows(self.prototype_unit.project(attributes))

    def head(self, features: Features, without: str = "") -> Output:
        """What follows the backbone."""
        embedding = self.global_embedding(features, without)
        if self.mim is not None:
            interaction = self.mim(features.maps)
            local = self.local_embedding(interaction.attributes)
            if without == "mim":
                local = torch.zeros_like(local)
            embedding = unit_rows(embedding + self.mim_weight * local)
            maps = interaction.maps
        else:
            height, width = self.grid
            maps = embedding.new_full(
                (embedding.shape[0], self.tokens, height, width), 1 / (height * width)
            )
        unit = self.prototype_unit
        attributes = torch.maximum(self.attribute_head(embedding), unit.minimum)
        attributes = torch.minimum(attributes, unit.maximum)
        foreground = self.foreground(*(features.maps[stage] for stage in self.config.foreground))
        return Output(embedding, attributes, maps, foreground)

    def forward(self, images: Tensor, without: str = "") -> Output:
        return self.head(self.features(images), without)

    def prototypes(self, class_attributes: Tensor) -> Tensor:
        """(C, A) complete sheets -> (C, D) unit rows."""
        prototypes: Tensor = self.prototype_unit(class_attributes)
        return prototypes


def _stages_read(config: ModelConfig) -> set[str]:
    """What HGA, MIM and the foreground read."""
    read = set(config.foreground)
    read |= set(config.hga.stages if config.hga.enabled else ())
    read |= set(config.mim.stages if config.mim.enabled else ())
    return read


def stages_in(maps: dict[str, Tensor], read: set[str]) -> list[str]:
    """The stages of `maps` that are read, in their own order."""
    return [stage for stage in maps if stage in read]
