import numpy as np
import pytest
import torch

from model.config import HGAConfig
from model.nn.hga import (
    HGA,
    Reduction,
    covariances,
    square_root,
    triangle_scale,
    unit_triangles,
)


def root_of(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


# More positions than channels, and fewer.
@pytest.mark.parametrize("positions", [40, 9])
def test_the_root_is_that_of_numpys_covariance_up_to_a_factor(positions: int) -> None:
    tokens = torch.randn(3, 12, positions, dtype=torch.float64)
    for one, actual in zip(tokens, square_root(covariances(tokens), 15), strict=True):
        covariance = np.cov(one.numpy())
        expected = root_of(covariance)
        factor = torch.linalg.norm(actual) / np.linalg.norm(expected)
        np.testing.assert_allclose(actual, expected * factor.item(), atol=1e-7)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_the_iterations_are_the_sources(iterations: int) -> None:
    square = torch.randn(4, 12, 40, dtype=torch.float64)
    matrices = square @ square.mT
    matrices /= matrices.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    y, z = matrices, torch.eye(12, dtype=torch.float64)
    for _ in range(iterations):  # Li et al. 2018, equation 2
        y, z = 0.5 * y @ (3 * torch.eye(12) - z @ y), 0.5 * (3 * torch.eye(12) - z @ y) @ z
    torch.testing.assert_close(square_root(matrices, iterations), y)


def test_five_iterations_come_near_the_root_where_a_map_has_positions_enough() -> None:
    tokens = torch.randn(2, 16, 400, dtype=torch.float64)
    root = square_root(covariances(tokens), 5)
    exact = square_root(covariances(tokens), 20)
    assert torch.linalg.norm(root @ root - exact @ exact) < 0.05 * torch.linalg.norm(exact @ exact)


@pytest.mark.parametrize("positions", [3, 7])
def test_maps_without_variation_have_finite_roots_and_gradients(positions: int) -> None:
    tokens = torch.zeros(2, 5, positions, dtype=torch.float64)
    tokens[1, 0, 0] = 4.0  # one channel varies: the root of a matrix of rank one is itself
    tokens.requires_grad_()
    root = square_root(covariances(tokens), 20)
    root.sum().backward()
    assert (root[1] / torch.linalg.norm(root[1]))[0, 0].item() == pytest.approx(1.0, rel=1e-6)
    assert torch.isfinite(root).all()
    assert torch.isfinite(tokens.grad).all()


def test_triangles_keep_the_inner_products_of_their_matrices() -> None:
    a, b = (m + m.transpose(1, 2) for m in torch.randn(2, 3, 6, 6, dtype=torch.float64))
    a, b = (m / m.flatten(1).norm(dim=1)[:, None, None] for m in (a, b))
    expected = (a * b).sum(dim=(1, 2))
    first, second = (unit_triangles(m) * triangle_scale(6) for m in (a, b))
    torch.testing.assert_close((first * second).sum(dim=1), expected)


def test_a_pca_start_keeps_the_directions_of_most_variance() -> None:
    maps = torch.randn(6, 10, 5, 5)
    maps[:, 3] *= 9
    maps[:, 7] *= 5
    reduction = Reduction(10, 2)
    reduction.start_from_pca(maps)
    values, vectors = np.linalg.eigh(np.cov(maps.permute(1, 0, 2, 3).reshape(10, -1).numpy()))
    expected = vectors[:, np.argsort(-values)[:2]].T
    overlap = np.abs((reduction.linear.weight.detach().numpy() * expected).sum(axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


def test_the_output_is_the_stages_unit_vectors_side_by_side_minus_their_mean() -> None:
    config = HGAConfig(stages=("fine", "coarse"), channels=(3, 4))
    hga = HGA(config, {"fine": 6, "coarse": 8})
    maps = {"fine": torch.randn(5, 6, 4, 4), "coarse": torch.randn(5, 8, 2, 2)}
    output = hga(maps)
    assert output.shape == (5, hga.width) == (5, 6 + 10)
    torch.testing.assert_close(output.norm(dim=1), torch.ones(5))
    hga.mean.copy_(output.mean(dim=0))
    torch.testing.assert_close(hga(maps).mean(dim=0), torch.zeros(16), atol=1e-6, rtol=0)


def test_the_order_of_the_positions_does_not_matter_but_their_statistics_do() -> None:
    tokens = torch.randn(1, 6, 9)
    pooled = unit_triangles(square_root(covariances(tokens), 5))
    shuffled = unit_triangles(square_root(covariances(tokens[:, :, torch.randperm(9)]), 5))
    torch.testing.assert_close(shuffled, pooled, atol=1e-5, rtol=0)
    other = tokens.clone()
    other[:, 0] *= -1  # same mean and variance per channel up to sign, other covariances
    assert (unit_triangles(square_root(covariances(other), 5)) - pooled).abs().max() > 1e-2


def test_stages_of_one_shape_are_pooled_together_as_each_would_be_alone() -> None:
    config = HGAConfig(stages=("fine", "coarse", "deep"), channels=(4, 4, 4))
    channels = {"fine": 6, "coarse": 8, "deep": 5}
    hga = HGA(config, channels)
    sides = {"fine": 4, "coarse": 2, "deep": 2}
    maps = {stage: torch.randn(3, channels[stage], side, side) for stage, side in sides.items()}
    roots = [square_root(covariances(hga.reduction(s)(maps[s])), 4) for s in config.stages]
    alone = [(unit_triangles(root) * triangle_scale(4)).flatten(1) for root in roots]
    torch.testing.assert_close(hga.vectors(maps), torch.cat(alone, dim=1))
