import numpy as np
import pytest
import torch

from model.config import HGAConfig
from model.nn.hga import HGA, CovariancePooling, covariance, matrix_sqrt, upper_triangle


def test_the_covariance_is_numpys() -> None:
    tokens = torch.randn(3, 49, 8, dtype=torch.float64)
    for one, actual in zip(tokens, covariance(tokens), strict=True):
        np.testing.assert_allclose(actual, np.cov(one.numpy().T, bias=True), atol=1e-12)


def test_the_matrix_root_is_the_one_of_an_eigendecomposition() -> None:
    square = torch.randn(4, 12, 40, dtype=torch.float64)
    matrices = square @ square.transpose(1, 2)
    values, vectors = np.linalg.eigh(matrices.numpy())
    expected = (vectors * np.sqrt(values)[:, None]) @ vectors.transpose(0, 2, 1)
    np.testing.assert_allclose(matrix_sqrt(matrices, 20), expected, rtol=1e-8, atol=1e-8)


def test_five_iterations_come_near_the_root_where_a_map_has_positions_enough() -> None:
    matrices = covariance(torch.randn(2, 400, 16, dtype=torch.float64))
    root = matrix_sqrt(matrices, 5)
    assert torch.linalg.norm(root @ root - matrices) < 0.05 * torch.linalg.norm(matrices)


def test_the_root_of_a_singular_matrix_has_finite_values_and_gradients() -> None:
    matrices = torch.zeros(2, 5, 5, dtype=torch.float64)
    matrices[1, 0, 0] = 4.0
    matrices.requires_grad_()
    root = matrix_sqrt(matrices, 5)
    root.sum().backward()
    assert root[1, 0, 0].item() == pytest.approx(2.0, rel=1e-6)
    assert torch.isfinite(root).all()
    assert torch.isfinite(matrices.grad).all()


def test_triangles_keep_the_inner_products_of_their_matrices() -> None:
    a, b = (m + m.transpose(1, 2) for m in torch.randn(2, 3, 6, 6, dtype=torch.float64))
    expected = (a * b).sum(dim=(1, 2))
    torch.testing.assert_close((upper_triangle(a) * upper_triangle(b)).sum(dim=1), expected)


def test_a_pca_start_keeps_the_directions_of_most_variance() -> None:
    maps = torch.randn(6, 10, 5, 5)
    maps[:, 3] *= 9
    maps[:, 7] *= 5
    pool = CovariancePooling(10, 2, 5)
    pool.start_from_pca(maps)
    values, vectors = np.linalg.eigh(np.cov(maps.permute(1, 0, 2, 3).reshape(10, -1).numpy()))
    expected = vectors[:, np.argsort(-values)[:2]].T
    overlap = np.abs((pool.reduce.weight.detach().numpy() * expected).sum(axis=1))
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
    pool = CovariancePooling(6, 4, 5)
    maps = torch.randn(1, 6, 3, 3)
    shuffled = maps.flatten(2)[:, :, torch.randperm(9)].unflatten(2, (3, 3))
    torch.testing.assert_close(pool(shuffled), pool(maps), atol=1e-5, rtol=0)
    other = maps.clone()
    other[:, 0] *= -1  # same mean and variance per channel up to sign, other covariances
    assert (pool(other) - pool(maps)).abs().max() > 1e-2
