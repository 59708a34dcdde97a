import numpy as np
import pytest
import torch

from model.training.closed_form import Ridge, class_side, eszsl, one_against_rest


@pytest.mark.parametrize(("images", "features"), [(30, 8), (8, 30)])
def test_ridge_solves_the_normal_equations_in_either_space(images: int, features: int) -> None:
    x, targets = torch.randn(images, features), torch.randn(images, 3)
    a = x.double().numpy()
    expected = np.linalg.solve(a.T @ a + 0.7 * np.eye(features), a.T @ targets.double().numpy())
    np.testing.assert_allclose(Ridge(x).solve(targets, 0.7), expected, atol=1e-8)


def test_eszsl_is_the_formula_of_its_paper() -> None:
    x, rows = torch.randn(20, 6).double(), torch.randn(4, 5).double()
    labels = torch.arange(20) % 4
    y = 2 * np.eye(4)[labels] - 1
    a, s = x.numpy(), rows.numpy()
    left = np.linalg.inv(a.T @ a + 2.0 * np.eye(6)) @ a.T @ y @ s
    expected = left @ np.linalg.inv(s.T @ s + 0.5 * np.eye(5))
    np.testing.assert_allclose(eszsl(Ridge(x), labels, rows, 2.0, 0.5), expected, atol=1e-10)
    np.testing.assert_array_equal(one_against_rest(labels, 4), y)
    np.testing.assert_allclose(
        class_side(rows, 0.5), s @ np.linalg.inv(s.T @ s + 0.5 * np.eye(5)), atol=1e-12
    )
