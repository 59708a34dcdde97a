"""Contributions against Shapley values by all orders, and where they were read."""

from itertools import permutations

import numpy as np
import pytest

from service.usecases.explain import contributions, heat_of

MEAN = np.array([10, 40, 20, 30, 50], np.float32)
SHEET = np.array([90, 5, 20, 100, 0], np.float64)  # the third is the mean's own
EMBEDDING = np.array([0.6, 0.0, 0.8], np.float32)
MAP = np.random.default_rng(1).standard_normal((5, 3))


def linear(sheets: np.ndarray) -> np.ndarray:
    return (sheets @ MAP).astype(np.float32)


def unit(sheets: np.ndarray) -> np.ndarray:
    rows = np.sqrt(sheets) @ MAP
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def logit(prototypes, sheet: np.ndarray) -> float:
    return float(prototypes(sheet[None].astype(np.float32))[0] @ EMBEDDING) / 0.1


def by_all_orders(prototypes) -> np.ndarray:
    values = np.zeros(5)
    orders = list(permutations(range(5)))
    for order in orders:
        sheet = MEAN.astype(np.float64)
        for attribute in order:
            before = logit(prototypes, sheet)
            sheet[attribute] = SHEET[attribute]
            values[attribute] += logit(prototypes, sheet) - before
    return values / len(orders)


@pytest.mark.parametrize("prototypes", [linear, unit])
def test_base_and_contributions_add_up_to_the_sheet_s_own_logit(prototypes) -> None:
    base, values = contributions(EMBEDDING, SHEET, MEAN, prototypes, 0.1)
    assert base == pytest.approx(logit(prototypes, MEAN), abs=1e-4)
    assert base + values.sum() == pytest.approx(logit(prototypes, SHEET), abs=1e-4)
    assert values[2] == 0


def test_where_a_prototype_is_linear_they_are_exact() -> None:
    _, values = contributions(EMBEDDING, SHEET, MEAN, linear, 0.1, pairs=1)
    np.testing.assert_allclose(values, by_all_orders(linear), rtol=1e-4, atol=1e-3)


def test_where_it_is_not_they_come_close_to_the_mean_over_all_orders() -> None:
    _, values = contributions(EMBEDDING, SHEET, MEAN, unit, 0.1, pairs=200)
    expected = by_all_orders(unit)
    np.testing.assert_allclose(values, expected, atol=0.05 * np.abs(expected).max())


def test_they_are_the_same_each_time_and_asked_for_in_one_call() -> None:
    calls = []

    def counted(sheets: np.ndarray) -> np.ndarray:
        calls.append(len(sheets))
        return unit(sheets)

    first = contributions(EMBEDDING, SHEET, MEAN, counted, 0.1)
    assert len(calls) == 1
    second = contributions(EMBEDDING, SHEET, MEAN, counted, 0.1)
    np.testing.assert_array_equal(first[1], second[1])


def test_the_mean_sheet_is_explained_by_its_base_alone() -> None:
    base, values = contributions(EMBEDDING, MEAN.astype(np.float64), MEAN, unit, 0.1)
    assert base == pytest.approx(logit(unit, MEAN), abs=1e-5)
    assert not values.any()


def test_many_attributes_are_walked_in_fewer_orders() -> None:
    largest = 0

    def counted(sheets: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = sheets.size
        return sheets[:, :3].copy()

    base, values = contributions(
        EMBEDDING, np.arange(1.0, 1501.0), np.zeros(1500, np.float32), counted, 1.0
    )
    assert largest <= 8_000_000
    assert base + values.sum() == pytest.approx(0.6 * 1 + 0.8 * 3, abs=1e-4)


def test_heat_is_where_attributes_that_spoke_for_the_class_were_read() -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 0, 0] = maps[1, 0, 1] = maps[2, 1, 1] = 1
    heat = heat_of(np.array([2.0, -5.0, 1.0, 0.5]), maps, (0, 1, 2, 2))
    np.testing.assert_array_equal(heat, [[2, 0], [0, 1.5]])
