"""Photographs of a class: how much they count, the blend, and how they are kept."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.photographs import blended, decoded, encoded, familiarity, mean_of


@pytest.mark.parametrize(
    ("count", "sheet_counts", "share"),
    [(0, 3, 0), (1, 3, 1 / 4), (2, 3, 2 / 5), (5, 3, 5 / 8), (16, 3, 16 / 19), (1, 1, 1 / 2)],
)
def test_familiarity_is_the_photographs_share_of_all_that_speaks(
    count: int, sheet_counts: float, share: float
) -> None:
    assert familiarity(count, sheet_counts) == pytest.approx(share)


@given(st.integers(0, 15), st.floats(0.01, 100))
def test_more_photographs_make_a_class_more_familiar_and_never_quite_seen(
    count: int, sheet_counts: float
) -> None:
    assert 0 <= familiarity(count, sheet_counts) < familiarity(count + 1, sheet_counts) < 1


def test_the_mean_of_photographs_lies_between_them_and_is_of_unit_length() -> None:
    # 30 and 90 degrees: between them lies 60.
    at = [math.radians(angle) for angle in (30, 90)]
    rows = np.array([[math.cos(a), math.sin(a)] for a in at], np.float32)

    mean = mean_of(rows)

    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, [0.5, math.sqrt(3) / 2], atol=1e-6)
    np.testing.assert_allclose(mean_of(rows[:1]), rows[0], atol=1e-6)


def test_photographs_that_contradict_each_other_have_no_mean_and_break_nothing() -> None:
    mean = mean_of(np.array([[1, 0], [-1, 0]], np.float32))
    prototype = np.array([[0, 1]], np.float32)

    assert mean.tolist() == [0, 0]
    np.testing.assert_allclose(blended(prototype, mean, 0.5), prototype, atol=1e-6)


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.9, 1])
def test_the_blend_is_the_weighted_sum_at_unit_length(share: float) -> None:
    random = np.random.default_rng(5)
    prototypes, mean = random.normal(size=(2, 3, 4)), random.normal(size=4)
    prototypes /= np.linalg.norm(prototypes, axis=-1, keepdims=True)
    mean /= np.linalg.norm(mean)

    found = blended(prototypes.astype(np.float32), mean.astype(np.float32), share)

    assert (found.shape, found.dtype) == ((2, 3, 4), np.float32)
    for place in np.ndindex(2, 3):
        mixed = [(1 - share) * a + share * b for a, b in zip(prototypes[place], mean, strict=True)]
        length = math.sqrt(math.fsum(value * value for value in mixed))
        np.testing.assert_allclose(found[place], [value / length for value in mixed], atol=1e-6)


def test_what_is_kept_is_exactly_what_the_network_saw() -> None:
    random = np.random.default_rng(1)
    pictures = random.integers(0, 256, (3, 32, 32, 3), np.uint8)

    kept = [encoded(picture) for picture in pictures]

    assert all(Image.open(io.BytesIO(file)).format == "PNG" for file in kept)
    again = decoded(kept, 32)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, pictures)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_a_network_of_another_size_sees_the_same_picture(size: int) -> None:
    # Left red, right blue, in one; the other way round in the other.
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16, 0] = picture[:, 16:, 2] = 200

    found = decoded([encoded(picture), encoded(picture[:, ::-1])], size)

    assert found.shape == (2, size, size, 3)
    quarter = size // 4
    for seen in (found[0], found[1][:, ::-1]):
        np.testing.assert_allclose(seen[:, :quarter].mean(axis=(0, 1)), [200, 0, 0], atol=3)
        np.testing.assert_allclose(seen[:, -quarter:].mean(axis=(0, 1)), [0, 0, 200], atol=3)
