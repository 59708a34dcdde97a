"""Mamba Interaction Module (MIM): visual and attribute tokens inform each other in both directions.

One sequence holds the positions of a CNN's map and the attribute tokens: `[visual, attribute]`.
Scanned forwards, every attribute token has read all of the image (visual -> semantic); scanned
backwards, every position has read all attribute tokens (semantic -> visual). Then each attribute
token looks at the positions once more, through an attention of its own: what it reads there
(local) and what it carries (global) predict the attributes of its group. The weights of that look
are the attribute maps.

B images, N positions, T attribute tokens, A attributes, W width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import MIMConfig
from model.errors import ConfigError
from model.nn.mamba2 import Mamba2
from model.nn.unit import RMSNorm


class Interaction(NamedTuple):
    """What MIM yields."""

    # (B, slots), the predicted attributes, in the prototype unit's normalised attribute space and
    # the order of `MIM.to_slots`.
    slots: Tensor
    maps: Tensor  # (B, T, h, w), each summing to 1


class BidirectionalMamba(nn.Module):
    """A Mamba-2 block that reads a sequence from both ends, added as a residual."""

    def __init__(self, config: MIMConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.width)
        self.block = Mamba2(
            config.width, config.state, config.head_width, config.expand, directions=2
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, L, W)."""
        result: Tensor = tokens + self.dropout(self.block(self.norm(tokens)))
        return result


class VisualTokens(nn.Module):
    """A map (B, C, h, w) -> its share of the visual tokens, (B, W, h', w').

    Args:
        channels, width: C and W.
        cells: how many rows and columns of the map make one token.

    Attributes:
        scale: (C,), 1 / each channel's deviation over training images.
    """

    def __init__(self, channels: int, width: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(channels))
        # The positions' own vectors are its bias.
        self.project = nn.Conv2d(channels, width, cells, stride=cells, bias=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        # Scaling the weights instead of the map: in an exported graph they are constants.
        weight = self.project.weight * self.scale[:, None, None]
        return functional.conv2d(feature_map, weight, stride=self.project.stride)


class MIM(nn.Module):
    """Maps -> predicted attributes, and where each attribute token was read.

    Args:
        config: width, layers, and the stages whose maps make the visual tokens. A stage with a
            finer grid than the last one is folded: 2 x 2 or more of its cells make one token.
        channels, grids: C and (h, w) of each stage.
        tokens: (A,), the attribute token that reads each attribute.
    """

    def __init__(
        self,
        config: MIMConfig,
        channels: dict[str, int],
        grids: dict[str, tuple[int, int]],
        tokens: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.stages = config.stages
        self.grid = grids[config.stages[-1]]
        positions, count, width = self.grid[0] * self.grid[1], max(tokens) + 1, config.width

        self.attribute_at: Tensor
        self.register_buffer("attribute_at", _slots(tokens), persistent=False)
        self.visual = nn.ModuleDict(
            {
                stage: VisualTokens(channels[stage], width, _fold(grids[stage], self.grid, stage))
                for stage in config.stages
            }
        )
        self.positions = nn.Parameter(torch.randn(positions, width) * 0.02)
        self.attribute_tokens = nn.Parameter(torch.randn(count, width) * 0.02)
        self.layers = nn.ModuleList(BidirectionalMamba(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.read_norm = nn.LayerNorm(2 * width)
        self.read = nn.Parameter(torch.randn(len(tokens), 2 * width) * 0.02)
        self.dropout = nn.Dropout(config.dropout)

    def scale_visual_tokens(self, maps: dict[str, Tensor]) -> None:
        """Give every channel that the visual tokens are made of unit deviation.

        Args:
            maps: {stage: (B, C, h, w)}, of training images.
        """
        for stage, tokens in self.visual.items():
            assert isinstance(tokens, VisualTokens)
            deviation = maps[stage].transpose(0, 1).flatten(1).std(dim=1)
            tokens.scale.copy_(1 / deviation.clamp_min(1e-6))

    def forward(self, maps: dict[str, Tensor]) -> Interaction:
        summed = sum(tokens(maps[stage]) for stage, tokens in self.visual.items())
        assert isinstance(summed, Tensor)
        # Zeros where the attribute tokens will be: repeating those for each image would take an
        # exported graph more operators than a sum.
        visual = functional.pad(summed.flatten(2), (0, len(self.attribute_tokens)))
        own = torch.cat([self.positions, self.attribute_tokens])
        tokens = visual.transpose(1, 2) + own  # (B, N + T, W)
        count = len(self.positions)
        if self.training:
            tokens = torch.cat([self.dropout(tokens[:, :count]), tokens[:, count:]], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        # Not the norm first: ONNX Runtime would draw the residual into it, and be slower.
        visual, semantic = self.norm(tokens[:, :count]), self.norm(tokens[:, count:])

        # A key for each position besides would add nothing: a query can hold their product.
        similarity = self.query(semantic) @ visual.transpose(1, 2)  # (B, T, N)
        weights = (similarity / visual.shape[-1] ** 0.5).softmax(dim=-1)
        local = weights @ visual  # (B, T, W)
        fused = self.dropout(self.read_norm(torch.cat([local, semantic], dim=-1)))  # (B, T, 2 W)
        # Token by token, each padded to the attributes of the largest: (T, slots, 2 W).
        read = functional.pad(self.read, (0, 0, 0, 1))[self.attribute_at]
        slots = (fused[:, :, None] @ read.mT).flatten(1)
        return Interaction(slots, weights.unflatten(2, self.grid))

    def to_slots(self, rows: Tensor) -> Tensor:
        """(R, A), a number for each attribute -> (R, slots), 0 in the slots of no attribute."""
        return functional.pad(rows, (0, 1))[:, self.attribute_at.flatten()]


def _slots(tokens: tuple[int, ...]) -> Tensor:
    """(T, slots): attributes in rows, one for each token; A where there is none."""
    rows = [[a for a, t in enumerate(tokens) if t == token] for token in range(max(tokens) + 1)]
    slots = max(map(len, rows))
    attribute_at = torch.full((len(rows), slots), len(tokens))
    for row, attributes in zip(attribute_at, rows, strict=True):
        row[: len(attributes)] = torch.tensor(attributes)
    return attribute_at


def _fold(grid: tuple[int, int], coarse: tuple[int, int], stage: str) -> tuple[int, int]:
    down, right = grid[0] // coarse[0], grid[1] // coarse[1]
    if (coarse[0] * down, coarse[1] * right) != grid:
        raise ConfigError(f"MIM: stage {stage} has grid {grid}, no multiple of {coarse}")
    return down, right
