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

from model.config import MIMConfig
from model.errors import ConfigError
from model.nn.mamba2 import Mamba2


class Interaction(NamedTuple):
    """What MIM yields."""

    attributes: Tensor  # (B, A), in the prototype unit's normalised attribute space
    maps: Tensor  # (B, T, h, w), each summing to 1


class BidirectionalMamba(nn.Module):
    """Two Mamba-2 blocks over one sequence, one from each end, added as a residual."""

    def __init__(self, config: MIMConfig) -> None:
        super().__init__()
        shape = (config.width, config.state, config.head_width, config.expand)
        self.norm = nn.RMSNorm(config.width)
        self.forwards = Mamba2(*shape)
        self.backwards = Mamba2(*shape)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, L, W)."""
        normed = self.norm(tokens)
        read: Tensor = self.forwards(normed) + self.backwards(normed.flip(1)).flip(1)
        result: Tensor = tokens + self.dropout(read)
        return result


class MIM(nn.Module):
    """Maps -> predicted attributes, and where each attribute token was read.

    Args:
        config: width, layers, and the stages whose maps make the visual tokens. A stage with a
            finer grid than the last one is folded: its 2 x 2 or larger cells become channels.
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
        self.folds = {stage: _fold(grids[stage], self.grid, stage) for stage in config.stages}
        width_in = sum(channels[s] * self.folds[s][0] * self.folds[s][1] for s in config.stages)
        positions, count, width = self.grid[0] * self.grid[1], max(tokens) + 1, config.width

        self.scale: Tensor
        self.token_of: Tensor
        self.register_buffer("scale", torch.ones(width_in))  # 1 / deviation over training images
        self.register_buffer("token_of", torch.tensor(tokens), persistent=False)
        self.project = nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width))
        self.positions = nn.Parameter(torch.randn(positions, width) * 0.02)
        self.attribute_tokens = nn.Parameter(torch.randn(count, width) * 0.02)
        self.layers = nn.ModuleList(BidirectionalMamba(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.read_norm = nn.LayerNorm(2 * width)
        self.read = nn.Parameter(torch.randn(len(tokens), 2 * width) * 0.02)
        self.dropout = nn.Dropout(config.dropout)

    def visual_tokens(self, maps: dict[str, Tensor]) -> Tensor:
        """{stage: (B, C, h, w)} -> (B, N, sum of folded C), unscaled."""
        height, width = self.grid
        folded = []
        for stage in self.stages:
            down, right = self.folds[stage]
            batch, channels = maps[stage].shape[:2]
            cells = maps[stage].reshape(batch, channels, height, down, width, right)
            folded.append(cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        return torch.cat(folded, dim=-1)

    def forward(self, maps: dict[str, Tensor]) -> Interaction:
        visual = self.project(self.visual_tokens(maps) * self.scale) + self.positions  # (B, N, W)
        batch, count = visual.shape[0], visual.shape[1]
        sequence = torch.cat(
            [self.dropout(visual), self.attribute_tokens.expand(batch, -1, -1)], dim=1
        )
        for layer in self.layers:
            sequence = layer(sequence)
        sequence = self.norm(sequence)
        visual, semantic = sequence[:, :count], sequence[:, count:]

        similarity = self.query(semantic) @ self.key(visual).transpose(1, 2)  # (B, T, N)
        weights = (similarity / visual.shape[-1] ** 0.5).softmax(dim=-1)
        local = weights @ visual  # (B, T, W)
        fused = self.dropout(self.read_norm(torch.cat([local, semantic], dim=-1)))  # (B, T, 2 W)
        attributes = (fused[:, self.token_of] * self.read).sum(dim=-1)  # (B, A)
        return Interaction(attributes, weights.reshape(batch, -1, *self.grid))


def _fold(grid: tuple[int, int], coarse: tuple[int, int], stage: str) -> tuple[int, int]:
    down, right = grid[0] // coarse[0], grid[1] // coarse[1]
    if (coarse[0] * down, coarse[1] * right) != grid:
        raise ConfigError(f"MIM: stage {stage} has grid {grid}, no multiple of {coarse}")
    return down, right
