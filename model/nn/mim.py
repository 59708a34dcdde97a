"""Mamba Interaction Module (MIM): visual and attribute tokens inform each other in both directions.

One sequence holds the positions of a CNN's map and the attribute tokens: `[visual, attribute]`.
Scanned forwards, every attribute token has read all of the image (visual -> semantic); scanned
backwards, every position has read all attribute tokens (semantic -> visual). Then each attribute
token looks at the positions once more, through an attention of its own: what it reads there
(local) and what it carries (global) predict the attributes of its group. The weights of that look
are the attribute maps.

B images, N positions, T attribute tokens, A attributes, W width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import MIMConfig
from model.errors import ConfigError
from model.nn.mamba2 import Mamba2


class Interaction(NamedTuple):
    """What MIM yields."""

    attributes: Tensor  # (B, A), in the prototype unit's normalised attribute space
    maps: Tensor  # (B, T, h, w), each summing to 1


class BidirectionalMamba(nn.Module):
    """A Mamba-2 block that reads a sequence from both ends, added as a residual."""

    def __init__(self, config: MIMConfig) -> None:
        super().__init__()
        # Its scale would do nothing that the block's first projection can't.
        self.norm = nn.RMSNorm(config.width, elementwise_affine=False)
        self.block = Mamba2(
            config.width, config.state, config.head_width, config.expand, directions=2
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, *parts: Tensor) -> Tensor:
        """The parts of a sequence, (B, L_i, W) each -> (B, sum of L_i, W).

        A part of batch size 1, but for the first, stands in every image's sequence, and is
        projected but once (in an exported graph, where it is a constant, never).
        """
        projected = [self.block.project_in(self.norm(part)) for part in parts]
        result: Tensor = _in_one(parts) + self.dropout(self.block.mix(_in_one(projected)))
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
        self.attribute_at: Tensor
        self.slot_of: Tensor
        self.register_buffer("scale", torch.ones(width_in))  # 1 / deviation over training images
        attribute_at, slot_of = _slots(tokens)
        self.register_buffer("attribute_at", attribute_at, persistent=False)
        self.register_buffer("slot_of", slot_of, persistent=False)
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
            last = maps[stage].flatten(2).transpose(1, 2)  # whole channels move together
            cells = last.reshape(last.shape[0], height, down, width, right, -1).transpose(2, 3)
            folded.append(cells.flatten(3).flatten(1, 2))
        return torch.cat(folded, dim=-1)

    def forward(self, maps: dict[str, Tensor]) -> Interaction:
        visual = self.project(self.visual_tokens(maps) * self.scale) + self.positions  # (B, N, W)
        batch, count = visual.shape[0], visual.shape[1]
        parts = [self.dropout(visual), self.attribute_tokens[None]]
        for layer in self.layers:
            parts = [layer(*parts)]
        visual, semantic = self.norm(parts[0][:, :count]), self.norm(parts[0][:, count:])

        similarity = self.query(semantic) @ self.key(visual).transpose(1, 2)  # (B, T, N)
        weights = (similarity / visual.shape[-1] ** 0.5).softmax(dim=-1)
        local = weights @ visual  # (B, T, W)
        fused = self.dropout(self.read_norm(torch.cat([local, semantic], dim=-1)))  # (B, T, 2 W)
        # Token by token, each padded to the attributes of the largest: (T, slots, 2 W).
        read = functional.pad(self.read, (0, 0, 0, 1))[self.attribute_at]
        slots = (fused[:, :, None] @ read.mT).flatten(1)  # (B, T slots)
        attributes = slots.index_select(1, self.slot_of)  # (B, A)
        return Interaction(attributes, weights.reshape(batch, -1, *self.grid))


def _in_one(parts: Sequence[Tensor]) -> Tensor:
    batch = parts[0].shape[0]
    return torch.cat([parts[0], *(part.expand(batch, -1, -1) for part in parts[1:])], dim=1)


def _slots(tokens: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Attributes in rows, one for each token.

    Returns:
        (T, slots), the attribute in each slot, A where there is none; (A,), the place of each
        attribute in the flattened rows.
    """
    rows = [[a for a, t in enumerate(tokens) if t == token] for token in range(max(tokens) + 1)]
    slots = max(map(len, rows))
    attribute_at = torch.full((len(rows), slots), len(tokens))
    for row, attributes in zip(attribute_at, rows, strict=True):
        row[: len(attributes)] = torch.tensor(attributes)
    order = attribute_at.flatten().argsort(stable=True)[: len(tokens)]
    return attribute_at, order


def _fold(grid: tuple[int, int], coarse: tuple[int, int], stage: str) -> tuple[int, int]:
    down, right = grid[0] // coarse[0], grid[1] // coarse[1]
    if (coarse[0] * down, coarse[1] * right) != grid:
        raise ConfigError(f"MIM: stage {stage} has grid {grid}, no multiple of {coarse}")
    return down, right
