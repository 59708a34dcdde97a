import numpy as np
import pytest
import torch

from model.nn.foreground import Foreground


def bilinear(values: np.ndarray, side: int) -> np.ndarray:
    """Linear between the middles of cells, constant beyond the outermost ones."""
    at = (np.arange(side) + 0.5) * len(values) / side - 0.5
    rows = np.array([np.interp(at, range(len(values)), column) for column in values.T]).T
    return np.array([np.interp(at, range(len(values)), row) for row in rows])


def distances(feature_map: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (h, w): from the mean of the outermost cells."""
    inside = np.zeros(feature_map.shape[1:], bool)
    inside[1:-1, 1:-1] = True
    border = feature_map[:, ~inside].mean(axis=1)
    return np.linalg.norm(feature_map - border[:, None, None], axis=0)


def test_it_is_the_coarse_distance_from_the_border_times_the_root_of_the_fine_one() -> None:
    fine, coarse = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3)
    found = Foreground((6, 6), (3, 3))(fine, coarse)
    for i in range(2):
        # The squared distances are what is enlarged.
        far = np.sqrt(bilinear(distances(coarse[i].numpy()) ** 2, 6))
        expected = far * np.sqrt(distances(fine[i].numpy()))
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("top", "left"), [(1, 1), (6, 2), (4, 7)])
def test_it_is_highest_on_what_differs_from_the_border(top: int, left: int) -> None:
    fine, coarse = torch.randn(1, 8, 12, 12) * 0.1, torch.randn(1, 8, 6, 6) * 0.1
    fine[:, :3, top : top + 4, left : left + 4] += 1
    coarse[:, 2:5, top // 2 : top // 2 + 2, left // 2 : left // 2 + 2] += 1
    row, column = divmod(int(Foreground((12, 12), (6, 6))(fine, coarse)[0].argmax()), 12)
    assert top <= row < top + 4
    assert left <= column < left + 4


def test_a_map_without_differences_has_no_foreground_and_small_grids_have_one_at_all() -> None:
    flat = Foreground((4, 4), (2, 2))(torch.ones(1, 3, 4, 4), torch.ones(1, 2, 2, 2))
    torch.testing.assert_close(flat, torch.zeros(1, 4, 4))
