"""Where the object is, from the maps of a first pass; and what two looks say together."""

import math

import numpy as np
import pytest

from model.look import LEAST_SIDE, combined, foreground, mean
from model.look import window as found_window
from model.preprocess import Box
from model.runtime.base import F32

VIEW = (0, 0, 700, 700)


def window(found: F32, view: Box) -> Box:
    return found_window(found, view).box


def blob(x: float, y: float, width: float, height: float, grid: tuple[int, int] = (7, 7)) -> F32:
    """How much of each cell the box (fractions of the view) covers, on a weak ground."""
    rows, columns = grid
    values = np.full(grid, 0.01, np.float32)
    for row in range(rows):
        for column in range(columns):
            down = min(y + height, (row + 1) / rows) - max(y, row / rows)
            across = min(x + width, (column + 1) / columns) - max(x, column / columns)
            values[row, column] += max(down, 0) * rows * max(across, 0) * columns
    return values


@pytest.mark.parametrize(
    "box",
    [
        (0.1, 0.1, 0.4, 0.4),
        (0.5, 0.5, 0.5, 0.5),
        (0.0, 0.4, 0.5, 0.5),
        (0.3, 0.3, 0.4, 0.4),
        (0.55, 0.05, 0.4, 0.6),
    ],
)
def test_the_window_holds_the_object_and_little_else(box: tuple[float, ...]) -> None:
    x, y, w, h = (edge * 700 for edge in box)

    left, top, width, height = window(blob(*box), VIEW)

    across = min(x + w, left + width) - max(x, left)
    down = min(y + h, top + height) - max(y, top)
    assert across * down > 0.9 * w * h
    assert width * height < 2.5 * w * h


def test_the_window_moves_and_grows_with_the_view() -> None:
    found = blob(0.2, 0.3, 0.3, 0.4)
    left, top, width, height = window(found, VIEW)

    moved = window(found, (50, 80, 1400, 2100))

    expected = (50 + 2 * left, 80 + 3 * top, 2 * width, 3 * height)
    assert moved == pytest.approx(expected, abs=4)


def test_the_windows_axes_are_those_of_the_map() -> None:
    left, top, width, height = window(blob(0.2, 0.5, 0.3, 0.45), VIEW)

    turned = window(blob(0.5, 0.2, 0.45, 0.3), VIEW)

    assert turned == (top, left, height, width)


def test_the_scale_of_the_map_says_nothing() -> None:
    found = blob(0.2, 0.3, 0.3, 0.4)

    assert window(found * np.float32(37), VIEW) == window(found, VIEW)


@pytest.mark.parametrize("grid", [(7, 7), (4, 4), (14, 14), (5, 9), (1, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_any_map_gives_whole_pixels_inside_the_view(grid: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    view = (random.integers(50), random.integers(50), *random.integers(1, 300, 2))
    view = tuple(map(int, view))

    found = window(random.random(grid).astype(np.float32) ** 4, view)

    assert all(isinstance(edge, int) for edge in found)
    for axis in (0, 1):
        low, length = found[axis], found[axis + 2]
        assert length >= 1
        assert low >= view[axis]
        assert low + length <= view[axis] + view[axis + 2]


def test_a_speck_still_gives_a_window_of_some_size() -> None:
    speck = np.zeros((7, 7), np.float32)
    speck[6, 0] = 1

    left, top, width, height = window(speck, VIEW)

    assert min(width, height) >= math.floor(LEAST_SIDE * 700)
    assert (left, top + height) == (0, 700)


@pytest.mark.parametrize(
    "flat",
    [
        np.full((7, 7), 1 / 49, np.float32),
        np.zeros((7, 7), np.float32),
        np.full((7, 7), np.nan, np.float32),
    ],
)
def test_a_map_that_says_nothing_leaves_the_view_as_it_is(flat: F32) -> None:
    assert window(flat, (3, 4, 50, 60)) == (3, 4, 50, 60)


def test_a_window_says_what_share_of_the_view_it_is() -> None:
    box, share = found_window(blob(0.2, 0.3, 0.3, 0.4), (0, 0, 1000, 500))
    assert share == pytest.approx(np.prod(np.array(box[2:]) / (1000, 500)))
    assert found_window(np.ones((7, 7), np.float32), VIEW).share == 1


@pytest.fixture
def looks() -> F32:
    """(2, D), unit rows."""
    rows = np.random.default_rng(0).normal(size=(2, 20)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_two_looks_meet_on_the_line_between_them(looks: F32, share: float) -> None:
    first, second = looks

    both = combined(first, second, share)

    assert both.dtype == np.float32
    assert float(both @ both) == pytest.approx(1, abs=1e-6)
    # Coordinates in the plane of the two: nothing lies outside it, and their ratio is the weights'.
    weights, rest, *_ = np.linalg.lstsq(looks.T.astype(float), both.astype(float))
    assert rest == pytest.approx(0, abs=1e-10)
    assert weights / weights.sum() == pytest.approx([share, 1 - share], abs=1e-5)


def test_a_smaller_window_counts_more(looks: F32) -> None:
    first, second = looks
    nearness = [combined(first, second, share) @ second for share in (0.9, 0.5, 0.1)]
    assert nearness == sorted(nearness)
    np.testing.assert_allclose(combined(first, first, 0.3), first, atol=1e-6)


def test_looks_that_contradict_each_other_still_give_a_unit_vector() -> None:
    first = np.array([0, 1, 0], np.float32)

    assert np.linalg.norm(combined(first, -first, 0.5)) == pytest.approx(1)


def test_attributes_of_two_looks_are_weighted_the_same_way() -> None:
    first, second = np.array([[0, 50, 100], [100, 50, 0]], np.float32)

    assert mean(first, second, 0.25) == pytest.approx([75, 50, 25])


def maps(*shapes: tuple[int, ...]) -> list[F32]:
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


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
    fine, coarse = maps((3, 6, 6), (4, 3, 3))
    # The squared distances are what is enlarged.
    far = np.sqrt(bilinear(distances(coarse) ** 2, 6))
    expected = far * np.sqrt(distances(fine))
    np.testing.assert_allclose(foreground(fine, coarse), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("top", "left"), [(1, 1), (6, 2), (4, 7)])
def test_it_is_highest_on_what_differs_from_the_border(top: int, left: int) -> None:
    fine, coarse = (0.1 * feature_map for feature_map in maps((8, 12, 12), (8, 6, 6)))
    fine[:3, top : top + 4, left : left + 4] += 1
    coarse[2:5, top // 2 : top // 2 + 2, left // 2 : left // 2 + 2] += 1
    row, column = divmod(int(foreground(fine, coarse).argmax()), 12)
    assert top <= row < top + 4
    assert left <= column < left + 4


def test_a_map_without_differences_has_no_foreground_and_small_grids_have_one_at_all() -> None:
    flat = foreground(np.ones((3, 4, 4), np.float32), np.ones((2, 2, 2), np.float32))
    np.testing.assert_array_equal(flat, np.zeros((4, 4)))
