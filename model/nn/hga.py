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
from model.nn.unit import unit_rows


def covariance_root(tokens: Tensor, iterations: int) -> Tensor:
    """Square root of the channels' covariance over the positions of a map, up to a factor.

    The covariance is divided by its Frobenius norm first, so that its eigenvalues lie in [0, 1],
    where the iterations converge (quadratically for large ones; tiny ones are only approached,
    which acts as a regulariser when a map has fewer positions than channels). By its trace, as in
    the source, they would lie lower, and it would take about an iteration more.

    Args:
        tokens: (..., C, N), C channels at N positions.
        iterations: of `newton_schulz`.

    Returns:
        (..., C, C), symmetric.
    """
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    is_tall = centred.shape[-2] > centred.shape[-1]
    products = centred.mT @ centred if is_tall else centred @ centred.mT
    norm = torch.linalg.vector_norm(products, dim=(-2, -1), keepdim=True)
    root, inverse_root = newton_schulz(products / (norm + 1e-12), iterations)
    # Root and inverse root are polynomials of the covariance X X^T, and X p(X^T X) = p(X X^T) X:
    # the smaller matrix will do.
    return centred @ inverse_root @ centred.mT if is_tall else root


def newton_schulz(matrices: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Square roots, and their inverses, of symmetric positive semi-definite matrices.

    Args:
        matrices: (..., C, C), eigenvalues in [0, 1].
        iterations: at least 1.

    Returns:
        (..., C, C), approximately the root R, and the same, approximately its inverse Z, which
        satisfies R = matrices @ Z exactly.
    """
    # All but `matrices` is twice what the source has: one operator less, and no other rounding.
    diagonal = 3 * torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    inverse_root = diagonal - matrices
    root = matrices @ inverse_root
    for _ in range(iterations - 1):
        step = diagonal - 0.25 * (inverse_root @ root)
        root, inverse_root = 0.5 * (root @ step), 0.5 * (step @ inverse_root)
    return 0.5 * root, 0.5 * inverse_root


def upper_triangle(matrices: Tensor) -> Tensor:
    """Symmetric matrices as vectors with the same inner products.

    Args:
        matrices: (..., C, C), symmetric.

    Returns:
        (..., C (C + 1) / 2), entries off the diagonal times sqrt(2).
    """
    size = matrices.shape[-1]
    rows, columns = torch.triu_indices(size, size, device=matrices.device)
    scale = (rows != columns).to(matrices.dtype) * (2.0**0.5 - 1) + 1
    triangle: Tensor = matrices.flatten(-2).index_select(-1, rows * size + columns) * scale
    return triangle


def pooled_covariances(roots: Tensor) -> Tensor:
    """(..., C, C), from `covariance_root` -> (..., C (C + 1) / 2) unit rows: second-order
    statistics, comparable by their inner products."""
    return unit_rows(upper_triangle(roots))


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
        self.register_buffer("mean", torch.zeros(self.width))

    def reduction(self, stage: str) -> Reduction:
        found = self.reductions[stage]
        assert isinstance(found, Reduction)
        return found

    def vectors(self, maps: dict[str, Tensor]) -> Tensor:
        """The stages' unit vectors side by side, (B, width)."""
        tokens = [self.reductions[stage](maps[stage]) for stage in self.stages]
        roots = [covariance_root(t, self.iterations) for t in _neighbours_in_one(tokens)]
        rows = [pooled_covariances(r).flatten(1) for r in _neighbours_in_one(roots)]
        return torch.cat(rows, dim=-1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        centred: Tensor = self.vectors(maps) / len(self.stages) ** 0.5 - self.mean
        return centred
