"""High-order Global Aggregator (HGA): second-order statistics across the channels of a CNN's map.

For one map: reduce the channels by a 1x1 convolution, take the covariance of the channels over the
positions, its matrix square root (by Newton-Schulz iterations: matrix products alone, so it runs
and exports anywhere), its upper triangle, and scale that to unit length.

Source: Li et al., "Towards Faster Training of Global Covariance Pooling Networks by Iterative
Matrix Square Root Normalization" (iSQRT-COV), CVPR 2018, arXiv:1712.01034.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import HGAConfig


def covariance(tokens: Tensor) -> Tensor:
    """Covariance of the channels over the positions of a map.

    Args:
        tokens: (B, N, C), N positions of C channels.

    Returns:
        (B, C, C), divided by N (the biased estimate).
    """
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    return centred.transpose(1, 2) @ centred / tokens.shape[1]


def matrix_sqrt(matrices: Tensor, iterations: int) -> Tensor:
    """Square root of symmetric positive semi-definite matrices by coupled Newton-Schulz iterations.

    Each matrix is divided by its trace first, so that its eigenvalues lie in [0, 1], where the
    iteration converges (quadratically for large ones; tiny ones are only approached, which acts as
    a regulariser when a map has fewer positions than channels).

    Args:
        matrices: (B, C, C).
        iterations: 5 are enough in practice (the source's Table 1).

    Returns:
        (B, C, C).
    """
    size = matrices.shape[-1]
    identity = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
    trace = (matrices * identity).sum(dim=(1, 2))[:, None, None].clamp_min(1e-12)
    root = matrices / trace
    inverse_root = identity
    for _ in range(iterations):
        step = 1.5 * identity - 0.5 * (inverse_root @ root)
        root, inverse_root = root @ step, step @ inverse_root
    result: Tensor = root * trace.sqrt()
    return result


def upper_triangle(matrices: Tensor) -> Tensor:
    """Symmetric matrices as vectors with the same inner products.

    Args:
        matrices: (B, C, C), symmetric.

    Returns:
        (B, C (C + 1) / 2), entries off the diagonal times sqrt(2).
    """
    rows, columns = torch.triu_indices(*matrices.shape[-2:], device=matrices.device)
    scale = (rows != columns).to(matrices.dtype) * (2.0**0.5 - 1) + 1
    result: Tensor = matrices[:, rows, columns] * scale
    return result


class CovariancePooling(nn.Module):
    """One map (B, C, h, w) -> a unit vector (B, reduced (reduced + 1) / 2)."""

    def __init__(self, channels: int, reduced: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.reduce = nn.Linear(channels, reduced, bias=False)
        self.width = reduced * (reduced + 1) // 2

    def forward(self, feature_map: Tensor) -> Tensor:
        tokens = self.reduce(feature_map.flatten(2).transpose(1, 2))  # (B, N, reduced)
        root = matrix_sqrt(covariance(tokens), self.iterations)
        return functional.normalize(upper_triangle(root), dim=-1)

    @torch.no_grad()
    def start_from_pca(self, feature_maps: Tensor) -> None:
        """Set the reduction to the principal directions of the channels.

        Args:
            feature_maps: (B, C, h, w), of training images.
        """
        tokens = feature_maps.flatten(2).transpose(1, 2).flatten(0, 1).double()  # (B N, C)
        _, directions = torch.linalg.eigh(torch.cov(tokens.T))  # eigenvalues ascend
        self.reduce.weight.copy_(directions.flip(1)[:, : self.reduce.out_features].T)


class HGA(nn.Module):
    """Covariance pooling at several depths of the CNN, side by side.

    `forward` takes {stage: (B, C, h, w)} and returns (B, width): the stages' unit vectors, each
    divided by sqrt(number of stages) so that the whole has unit length, minus `mean`, the training
    images' mean. A zero output therefore stands for an image like any other.
    """

    def __init__(self, config: HGAConfig, channels: dict[str, int]) -> None:
        super().__init__()
        self.stages = config.stages
        self.pools = nn.ModuleDict(
            {
                stage: CovariancePooling(channels[stage], reduced, config.iterations)
                for stage, reduced in zip(config.stages, config.channels, strict=True)
            }
        )
        self.width = sum(c * (c + 1) // 2 for c in config.channels)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(self.width))

    def pool(self, stage: str) -> CovariancePooling:
        pool = self.pools[stage]
        assert isinstance(pool, CovariancePooling)
        return pool

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        vectors = [self.pools[stage](maps[stage]) for stage in self.stages]
        scaled: Tensor = torch.cat(vectors, dim=-1) / len(vectors) ** 0.5
        return scaled - self.mean
