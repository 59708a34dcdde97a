"""The picture of a map over a photograph, by its pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from model.errors import ImageError
from model.heatmap import overlay

GRAY = 100


def photograph(width: int, height: int, orientation: int = 1) -> bytes:
    image = Image.new("RGB", (width, height), (GRAY,) * 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


def painted(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"), int)


def test_high_parts_glow_and_low_parts_are_dimmed() -> None:
    heat = np.array([[5, 0], [0, 0]], np.float32)
    pixels = painted(overlay(photograph(40, 20), heat, 10**6))
    assert pixels.shape == (20, 40, 3)
    red, _, blue = pixels[2, 4]
    assert red > GRAY > blue
    assert (pixels[-1, -1] < GRAY * 0.6).all()


def test_outside_of_a_box_the_map_says_nothing() -> None:
    heat = np.ones((7, 7), np.float32)
    pixels = painted(overlay(photograph(40, 20), heat, 10**6, (10, 5, 20, 10)))
    glows = pixels[..., 0] > GRAY
    inside = np.zeros((20, 40), bool)
    inside[5:15, 10:30] = True
    np.testing.assert_array_equal(glows, inside)


def test_large_photographs_become_small_pictures_and_turned_ones_upright() -> None:
    pixels = painted(overlay(photograph(2000, 1000, orientation=6), np.ones((2, 2)), 10**7))
    assert pixels.shape == (1024, 512, 3)


@pytest.mark.parametrize(
    ("box", "column", "row"),
    [((3999, 0, 1, 3000), -1, slice(None)), ((0, 2999, 4000, 1), slice(None), -1)],
)
def test_a_strip_at_the_far_edge_of_a_large_photograph_is_a_pixel_wide(
    box: tuple[float, float, float, float], column: int | slice, row: int | slice
) -> None:
    pixels = painted(overlay(photograph(4000, 3000), np.ones((7, 7), np.float32), 10**8, box))
    inside = np.zeros((768, 1024), bool)
    inside[row, column] = True
    np.testing.assert_array_equal(pixels[..., 0] > GRAY, inside)


def test_a_map_of_zeros_dims_everything() -> None:
    pixels = painted(overlay(photograph(8, 8), np.zeros((3, 3), np.float32), 10**6))
    assert (pixels < GRAY * 0.6).all()


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError):
        overlay(b"nothing", np.ones((2, 2), np.float32), 10**6)
    with pytest.raises(ImageError, match="does not overlap"):
        overlay(photograph(8, 8), np.ones((2, 2), np.float32), 10**6, (9, 9, 2, 2))
