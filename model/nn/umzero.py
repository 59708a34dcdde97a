"""The whole network on one page: images -> CNN -> HGA, MIM -> one embedding; sheets -> prototypes.

    images ── backbone ── pooled map ──────────────┐
                 │                                 ├── global head ──┐
                 ├── HGA: covariances ─────────────┘                 ├── unit embedding (B, D)
                 └── MIM: visual + attribute tokens ── attributes ───┘
    sheets ── prototype unit ── unit prototypes (C, D)

The embedding never depends on the classes.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.errors import ConfigError
from model.nn.backbone import Backbone, build_backbone
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
    # Two of the CNN's maps, of which `model.look.foreground` tells where the object is:
    fine: Tensor  # (B, C, h', w')
    coarse: Tensor  # (B, C', h", w")


class Features(NamedTuple):
    """What the frozen backbone yields for the heads; training caches these."""

    pooled: Tensor  # (B, C)
    maps: dict[str, Tensor]  # {stage: (B, C, h, w)}, what HGA and MIM read

    def rows(self, chosen: Tensor | slice) -> "Features":
        """Some of the images."""
        return Features(self.pooled[chosen], {s: m[chosen] for s, m in self.maps.items()})

    def to(self, device: torch.device) -> "Features":
        return Features(self.pooled.to(device), {s: m.to(device) for s, m in self.maps.items()})


class UMZero(nn.Module):
    """The network. `without` ("hga", "mim") zeroes that part's output: for ablation."""

    def __init__(
        self, config: ModelConfig, layout: AttributeLayout, pretrained: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = build_backbone(config.backbone, pretrained)
        stages = config.backbone.stages
        if absent := sorted(stages_read(config) - set(stages)):
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
        self.tokens = max(layout.groups) + 1

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the attribute maps."""
        return self.mim.grid if self.mim else self.grids[self.config.backbone.stages[-1]]

    def features(self, images: Tensor) -> Features:
        """(B, S, S, 3) uint8 RGB -> what the heads read."""
        maps = self.backbone(images.permute(0, 3, 1, 2).float())
        named = dict(zip(self.config.backbone.stages, maps, strict=True))
        read = stages_read(self.config)
        pooled = functional.avg_pool2d(maps[-1], maps[-1].shape[2:]).flatten(1)
        return Features(pooled, {s: named[s] for s in stages_in(named, read)})

    def first_order(self, pooled: Tensor) -> Tensor:
        """(B, C) -> (B, C): square root, unit length, not centred."""
        return unit_rows(pooled.clamp_min(1e-12).sqrt())

    def global_features(self, features: Features) -> Tensor:
        """(B, F): the first-order part and HGA's, centred, weighted by their number of kernels."""
        weighted: Tensor = (self._kernels(features) * self._scale - self._centre) / self._share
        return weighted

    def global_embedding(self, features: Features, without: str = "") -> Tensor:
        """(B, D) unit rows: `global_head(global_features)`, with centre, scale and weights drawn
        into the head, where an exported graph has them as constants."""
        weight = self.global_head.weight / self._share
        rows = self._kernels(features, without)
        # Not `functional.linear`: ONNX Runtime reads a constant faster the other way round.
        return unit_rows(rows @ (weight * self._scale).T - weight @ self._centre)

    def _kernels(self, features: Features, without: str = "") -> Tensor:
        """(B, F): what the kernels are the inner products of, side by side; times `_scale`, each
        is a unit vector."""
        rows = self.first_order(features.pooled)
        if self.hga is None:
            return rows
        second = self.hga.triangles(features.maps)
        if without == "hga":
            second = (self._hga_mean / self.hga.scale).expand_as(second)
        return torch.cat([rows, second], dim=-1)

    @property
    def _share(self) -> float:
        return math.sqrt(1 + (len(self.hga.stages) if self.hga else 0))

    @property
    def _scale(self) -> Tensor:
        """(F,)."""
        first = torch.ones_like(self.pooled_mean)
        return first if self.hga is None else torch.cat([first, self.hga.scale])

    @property
    def _centre(self) -> Tensor:
        """(F,), the training images' mean."""
        first = self.pooled_mean
        return first if self.hga is None else torch.cat([first, self._hga_mean])

    @property
    def _hga_mean(self) -> Tensor:
        """Of the stages' unit vectors; HGA's own is that of its output, which has unit length over
        all stages."""
        assert self.hga is not None
        mean: Tensor = self.hga.mean * len(self.hga.stages) ** 0.5
        return mean

    def local_embedding(self, slots: Tensor) -> Tensor:
        """The attributes that MIM predicts (B, slots) -> (B, D) unit rows, as the prototypes are
        made."""
        assert self.mim is not None
        return unit_rows(
            functional.linear(slots, self.mim.to_slots(self.prototype_unit.project.weight))
        )

    def head(self, features: Features, without: str = "") -> Output:
        """What follows the backbone."""
        embedding = self.global_embedding(features, without)
        if self.mim is not None:
            interaction = self.mim(features.maps)
            local = self.local_embedding(interaction.slots)
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
        fine, coarse = (features.maps[stage] for stage in self.config.foreground)
        return Output(embedding, attributes, maps, fine, coarse)

    def forward(self, images: Tensor, without: str = "") -> Output:
        return self.head(self.features(images), without)

    def prototypes(self, class_attributes: Tensor) -> Tensor:
        """(C, A) complete sheets -> (C, D) unit rows."""
        prototypes: Tensor = self.prototype_unit(class_attributes)
        return prototypes


def stages_read(config: ModelConfig) -> set[str]:
    """What HGA, MIM and a second look read."""
    read = set(config.foreground)
    read |= set(config.hga.stages if config.hga.enabled else ())
    read |= set(config.mim.stages if config.mim.enabled else ())
    return read


def stages_in(maps: dict[str, Tensor], read: set[str]) -> list[str]:
    """The stages of `maps` that are read, in their own order."""
    return [stage for stage in maps if stage in read]
