"""Pretrained CNNs as one thing: images in, one map a stage out.

| name                          | stages                                             |
|-------------------------------|----------------------------------------------------|
| efficientnet_lite0, _1, _2    | `block0`, `block1`, ... (MBConv blocks), `head`    |
| resnet50, resnet101           | `layer1`, `layer2`, `layer3`, `layer4`             |

The normalisation that the weights were trained with is inside.
"""

import copy
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.config import BackboneConfig
from model.errors import BackendUnavailable, ConfigError, WeightsError
from model.nn import efficientnet_lite
from model.nn.efficientnet_lite import Block, EfficientNetLite, read_state
from model.nn.torchvision_compat import import_torchvision

RESNETS = ("resnet50", "resnet101")
RESNET_CHANNELS = {"layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048}
NAMES = (*efficientnet_lite.VARIANTS, *RESNETS)


class Backbone(nn.Module):
    """What every backbone is.

    Attributes:
        stages: the configured ones.
        channels: C of each configured stage.
        grids: (h, w) of each configured stage at the configured input size.
    """

    stages: tuple[str, ...]
    channels: tuple[int, ...]
    grids: tuple[tuple[int, int], ...]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """RGB images (B, 3, S, S), float, 0..255 -> one (B, C, h, w) for each configured stage,
        in the configuration's order."""
        read = self._from(self._in_order(), self._first(images))
        return tuple(read[stage] for stage in self.stages)

    def resume(self, stage: str, feature_map: Tensor) -> dict[str, Tensor]:
        """Go on from a stage's map: {stage: (B, C, h, w)} of the configured stages behind it."""
        read = self._from(self.behind(stage), feature_map)
        return {name: maps for name, maps in read.items() if name in self.stages}

    def behind(self, stage: str) -> dict[str, nn.Module]:
        """What `resume` goes through, in order."""
        modules = list(self._in_order().items())
        return dict(modules[[name for name, _ in modules].index(stage) + 1 :])

    def _first(self, images: Tensor) -> Tensor:
        """What precedes the first stage."""
        raise NotImplementedError

    def _in_order(self) -> dict[str, nn.Module]:
        """All stages in order, each of which reads the one before."""
        raise NotImplementedError

    @staticmethod
    def _from(modules: dict[str, nn.Module], maps: Tensor) -> dict[str, Tensor]:
        read = {}
        for name, module in modules.items():
            maps = read[name] = module(maps)
        return read


def build_backbone(
    config: BackboneConfig, pretrained: bool = True, weights: Path | None = None
) -> Backbone:
    """Build a backbone, in training mode as torch does; freezing is the caller's choice.

    Args:
        config: its name, input size and stages.
        pretrained: load ImageNet weights; False leaves them random.
        weights: a local state dict with upstream's parameter names, instead of the package's
            (EfficientNet-Lite) or torchvision's download (ResNet, IMAGENET1K_V2).

    Raises:
        ConfigError: no such backbone, or it has no such stage.
        BackendUnavailable: the ImageNet weights, or torchvision, can't be had here.
        WeightsError: the weights can't be read or don't fit.
    """
    if config.input_size < 1:
        raise ConfigError(f"input_size is {config.input_size}, expected at least 1 pixel")
    if config.name in efficientnet_lite.VARIANTS:
        lite = EfficientNetLite(config.name)
        backbone: Backbone = _EfficientNetLiteBackbone(lite, config)
        if pretrained:
            efficientnet_lite.load_imagenet(lite, weights)
        return backbone
    if config.name in RESNETS:
        _check_stages(config, tuple(RESNET_CHANNELS))
        return _ResNetBackbone(_resnet(config.name, pretrained, weights), config)
    raise ConfigError(f"no backbone is called {config.name!r}; there are {', '.join(NAMES)}")


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """A copy of `module` in evaluation mode, its batch normalisations folded into convolutions.

    It computes the same, with fewer operations and parameters: for export, not for training. Knows
    the pairs (`conv`, `norm`), torchvision's (`conv<k>`, `bn<k>`) and neighbours in a Sequential;
    other normalisations stay as they are.
    """
    folded = copy.deepcopy(module).eval()
    for parent in list(folded.modules()):
        for first, second in _pairs(parent):
            convolution, norm = getattr(parent, first), getattr(parent, second)
            setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
            setattr(parent, second, nn.Identity())
    return folded


class _EfficientNetLiteBackbone(Backbone):
    """The network up to its deepest configured stage."""

    def __init__(self, network: EfficientNetLite, config: BackboneConfig) -> None:
        super().__init__()
        known = (*(f"block{k}" for k in range(len(network.blocks))), "head")
        _check_stages(config, known)
        deepest = max(known.index(stage) for stage in config.stages)
        self.stages = config.stages
        self.stem = network.stem
        self.blocks = network.blocks[: deepest + 1]
        self.head = network.head if deepest == len(network.blocks) else None
        channels, grids, side = {}, {}, math.ceil(config.input_size / 2)
        for stage, block in zip(known, network.blocks, strict=False):
            assert isinstance(block, Block)
            side = math.ceil(side / block.stride)
            channels[stage], grids[stage] = block.channels, (side, side)
        channels["head"], grids["head"] = efficientnet_lite.HEAD_CHANNELS, (side, side)
        self.channels = tuple(channels[stage] for stage in config.stages)
        self.grids = tuple(grids[stage] for stage in config.stages)

    def _first(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stem(efficientnet_lite.normalise(images))
        return maps

    def _in_order(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {f"block{k}": m for k, m in enumerate(self.blocks)}
        return modules if self.head is None else {**modules, "head": self.head}


class _ResNetBackbone(Backbone):
    """torchvision's ResNet up to its deepest configured stage."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, config: BackboneConfig) -> None:
        super().__init__()
        known = tuple(RESNET_CHANNELS)
        deepest = max(known.index(stage) for stage in config.stages)
        self.stages = config.stages
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layers = nn.ModuleDict({k: getattr(network, k) for k in known[: deepest + 1]})
        # torchvision's constants of ImageNet, in 0..255; no part of a state dict.
        mean = 255.0 * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = 255.0 * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        sides = [math.ceil(config.input_size / 4)]
        for _ in known[1:]:
            sides.append(math.ceil(sides[-1] / 2))
        grids = dict(zip(known, ((side, side) for side in sides), strict=True))
        self.channels = tuple(RESNET_CHANNELS[stage] for stage in config.stages)
        self.grids = tuple(grids[stage] for stage in config.stages)

    def _first(self, images: Tensor) -> Tensor:
        normalised = (images - self.mean) / self.std
        maps: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(normalised))))
        return maps

    def _in_order(self) -> dict[str, nn.Module]:
        return dict(self.layers.items())


def _check_stages(config: BackboneConfig, known: tuple[str, ...]) -> None:
    unknown = [stage for stage in config.stages if stage not in known]
    if unknown or not config.stages:
        raise ConfigError(
            f"stages of {config.name}: got {list(config.stages)}, expected one or more of "
            + ", ".join(known)
        )


def _resnet(name: str, pretrained: bool, weights: Path | None) -> nn.Module:
    models = import_torchvision("models")
    if not pretrained or weights is not None:
        network: nn.Module = models.get_model(name, weights=None)
        if pretrained and weights is not None:
            try:
                network.load_state_dict(read_state(weights), strict=True)
            except RuntimeError as error:
                raise WeightsError(f"{weights.name} doesn't fit {name}: {error}") from error
        return network
    choice = models.get_model_weights(name).IMAGENET1K_V2
    try:
        # The hash that torchvision publishes is in the file's name and is checked.
        state = choice.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise BackendUnavailable(
            f"the ImageNet weights of {name} could not be downloaded from {choice.url} ({error}). "
            "Download that file yourself and give its path as `weights`"
        ) from error
    network = models.get_model(name, weights=None)
    network.load_state_dict(state, strict=True)
    return network


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    children = list(parent.named_children())
    names = {name for name, _ in children}
    candidates = [(name, name.replace("conv", "bn")) for name in names if re.match(r"conv\d", name)]
    candidates.append(("conv", "norm"))
    if isinstance(parent, nn.Sequential):
        candidates += [(a, b) for (a, _), (b, _) in pairwise(children)]
    for first, second in candidates:
        if {first, second} <= names:
            pair = getattr(parent, first), getattr(parent, second)
            if isinstance(pair[0], nn.Conv2d) and isinstance(pair[1], nn.BatchNorm2d):
                yield first, second
