"""High-order Global Aggregator (HGA): second-order statistics across the channels of a CNN's map.

For one map: reduce the channels by a 1x1 convolution, take the covariance of the channels over the
positions, its matrix square root (by coupled Newton-Schulz iterations: matrix products alone, so it
runs and exports anywhere), its upper triangle, and scale that to unit length.

Source: Li et al., "Towards Faster Training of Global Covariance Pooling Networks by Iterative
Matrix Square Root Normalization" (iSQRT-COV), CVPR 2018, arXiv:1712.01034.
"""

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import HGAConfig


def covariances(tokens: Tensor) -> Tensor:
    """The channels' covariances over the positions of a map, scaled to unit Frobenius norm.

    Their eigenvalues then lie in [0, 1], where `root` converges (quadratically for large ones; tiny
    ones are only approached, which acts as a regulariser when a map has fewer positions than
    channels). Divided by the trace, as in the source, they would lie lower, and it would take about
    an iteration more.

    Args:
        tokens: (..., C, N), C channels at N positions.

    Returns:
        (..., C, C), symmetric.
    """
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    products = centred @ centred.mT
    norm = torch.linalg.vector_norm(products, dim=(-2, -1), keepdim=True)
    scaled: Tensor = products / (norm + 1e-12)
    return scaled


def square_root(matrices: Tensor, iterations: int) -> Tensor:
    """Square roots of symmetric positive semi-definite matrices, approximately, by coupled
    Newton-Schulz iterations.

    Args:
        matrices: (..., C, C), eigenvalues in [0, 1].
        iterations: at least 1.
    """
    # All but `matrices` is twice what the source has: one operator less, and no other rounding.
    diagonal = 3 * torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    inverse_root = diagonal - matrices
    root = matrices @ inverse_root
    for _ in range(iterations - 1):
        step = diagonal - 0.25 * (inverse_root @ root)
        root, inverse_root = 0.5 * (root @ step), 0.5 * (step @ inverse_root)
    return 0.5 * root


def unit_triangles(matrices: Tensor) -> Tensor:
    """Symmetric matrices as their upper triangles, divided by the whole matrices' norms.

    With `triangle_scale` they are unit vectors that have the matrices' inner products.

    Args:
        matrices: (..., C, C), symmetric.

    Returns:
        (..., C (C + 1) / 2).
    """
    size = matrices.shape[-1]
    rows, columns = torch.triu_indices(size, size, device=matrices.device)
    flat = matrices.flatten(-2)
    norm = torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
    unit: Tensor = flat.index_select(-1, rows * size + columns) / (norm + 1e-12)
    return unit


def triangle_scale(size: int) -> Tensor:
    """(C (C + 1) / 2,): 1 on the diagonal, sqrt(2) off it, where one entry stands for two."""
    rows, columns = torch.triu_indices(size, size)
    return torch.where(rows == columns, 1.0, 2.0**0.5)


def _neighbours_in_one(tensors: Iterable[Tensor]) -> list[Tensor]:
    """(B, stages, ...) each, neighbours of the same shape side by side: many small operators cost
    more than few large ones."""
    return [torch.cat(list(same), dim=1) for _, same in groupby(tensors, key=lambda t: t.shape[2:])]


class Reduction(nn.Module):
    """Fewer channels: a map (B, C, h, w) -> tokens (B, 1, reduced, h w)."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, reduced, bias=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        reduced = functional.conv2d(feature_map, self.linear.weight[:, :, None, None])
        return reduced.reshape(-1, 1, reduced.shape[1], reduced.shape[2] * reduced.shape[3])

    @torch.no_grad()
    def start_from_pca(self, feature_maps: Tensor) -> None:
        """Set the reduction to the principal directions of the channels.

        Args:
            feature_maps: (B, C, h, w), of training images.
        """
        tokens = feature_maps.flatten(2).transpose(1, 2).flatten(0, 1).double()  # (B N, C)
        _, directions = torch.linalg.eigh(torch.cov(tokens.T))  # eigenvalues ascend
        self.linear.weight.copy_(directions.flip(1)[:, : self.linear.out_features].T)


class HGA(nn.Module):
    """Covariance pooling at several depths of the CNN, side by side.

    `forward` takes {stage: (B, C, h, w)} and returns (B, width): the stages' unit vectors, each
    divided by sqrt(number of stages) so that the whole has unit length, minus `mean`, the training
    images' mean. A zero output therefore stands for an image like any other.
    """

    def __init__(self, config: HGAConfig, channels: dict[str, int]) -> None:
        super().__init__()
        self.stages = config.stages
        self.iterations = config.iterations
        self.reductions = nn.ModuleDict(
            {
                stage: Reduction(channels[stage], reduced)
                for stage, reduced in zip(config.stages, config.channels, strict=True)
            }
        )
        self.width = sum(c * (c + 1) // 2 for c in config.channels)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(self.width))
        scale = torch.cat([triangle_scale(size) for size in config.channels])
        self.register_buffer("scale", scale, persistent=False)

    def reduction(self, stage: str) -> Reduction:
        found = self.reductions[stage]
        assert isinstance(found, Reduction)
        return found

    def vectors(self, maps: dict[str, Tensor]) -> Tensor:
        """The stages' unit vectors side by side, (B, width)."""
        return self.triangles(maps) * self.scale

    def triangles(self, maps: dict[str, Tensor]) -> Tensor:
        """`vectors` without `scale`, which a linear map that follows can have in its weights."""
        tokens = [self.reductions[stage](maps[stage]) for stage in self.stages]
        matrices = [covariances(t) for t in _neighbours_in_one(tokens)]
        roots = [square_root(m, self.iterations) for m in _neighbours_in_one(matrices)]
        return torch.cat([unit_triangles(r).flatten(1) for r in roots], dim=-1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        centred: Tensor = self.vectors(maps) / len(self.stages) ** 0.5 - self.mean
        return centred
