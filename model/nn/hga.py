"""High-order Global Aggregator (HGA): second-order statistics across the channels of a CNN's map.

For one map: reduce the channels by a 1x1 convolution, take the covariance of the channels over the
positions, its matrix square root (by coupled Newton-Schulz iterations: matrix products alone, so it
runs and exports anywhere), its upper triangle, and scale that to unit length.

Source: Li et al., "Towards Faster Training of Global Covariance Pooling Networks by Iterative
Matrix Square Root Normalization" (iSQRT-COV), CVPR 2018, arXiv:1712.01034.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import HGAConfig
from model.nn.unit import unit_rows


def covariance_root(tokens: Tensor, iterations: int) -> Tensor:
    """Square root of the channels' covariance over the positions of a map, up to a factor.

    The covariance is divided by its trace first, so that its eigenvalues lie in [0, 1], where the
    iterations converge (quadratically for large ones; tiny ones are only approached, which acts as
    a regulariser when a map has fewer positions than channels).

    Args:
        tokens: (B, C, N), C channels at N positions.
        iterations: of `newton_schulz`; 5 are enough in practice (the source's Table 1).

    Returns:
        (B, C, C), with trace(root @ root) = 1 in the limit of many iterations.
    """
    centred = tokens - tokens.mean(dim=2, keepdim=True)
    # The products of these rows have trace 1.
    rows: Tensor = unit_rows(centred.flatten(1)).reshape(centred.shape)
    if rows.shape[1] <= rows.shape[2]:
        return newton_schulz(rows @ rows.mT, iterations)[0]
    # Root and inverse root are polynomials of the covariance X X^T, and X p(X^T X) = p(X X^T) X:
    # the smaller matrix will do.
    root: Tensor = rows @ newton_schulz(rows.mT @ rows, iterations)[1] @ rows.mT
    return root


def newton_schulz(matrices: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Square roots, and their inverses, of symmetric positive semi-definite matrices.

    Args:
        matrices: (B, C, C), eigenvalues in [0, 1].
        iterations: at least 1.

    Returns:
        (B, C, C), approximately the root R; (B, C, C), approximately its inverse Z, which satisfies
        R = matrices @ Z exactly.
    """
    diagonal = 1.5 * torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    inverse_root = diagonal - 0.5 * matrices
    root = matrices @ inverse_root
    for _ in range(iterations - 1):
        step = diagonal - 0.5 * (inverse_root @ root)
        root, inverse_root = root @ step, step @ inverse_root
    return root, inverse_root


def upper_triangle(matrices: Tensor) -> Tensor:
    """Symmetric matrices as vectors with the same inner products.

    Args:
        matrices: (B, C, C), symmetric.

    Returns:
        (B, C (C + 1) / 2), entries off the diagonal times sqrt(2).
    """
    size = matrices.shape[-1]
    rows, columns = torch.triu_indices(size, size, device=matrices.device)
    scale = (rows != columns).to(matrices.dtype) * (2.0**0.5 - 1) + 1
    places = (rows * size + columns).expand(matrices.shape[0], -1)
    triangle: Tensor = matrices.flatten(1).gather(1, places) * scale
    return triangle


class CovariancePooling(nn.Module):
    """One map (B, C, h, w) -> a unit vector (B, reduced (reduced + 1) / 2)."""

    def __init__(self, channels: int, reduced: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.reduce = nn.Linear(channels, reduced, bias=False)
        self.width = reduced * (reduced + 1) // 2

    def forward(self, feature_map: Tensor) -> Tensor:
        tokens = functional.conv2d(feature_map, self.reduce.weight[:, :, None, None]).flatten(2)
        return unit_rows(upper_triangle(covariance_root(tokens, self.iterations)))

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

    def vectors(self, maps: dict[str, Tensor]) -> Tensor:
        """The stages' unit vectors side by side, (B, width)."""
        return torch.cat([self.pools[stage](maps[stage]) for stage in self.stages], dim=-1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        centred: Tensor = self.vectors(maps) / len(self.stages) ** 0.5 - self.mean
        return centred
