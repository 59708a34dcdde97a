"""Whole frames made of crops."""

import numpy as np
import pytest
from PIL import Image

from model.data.frames import ASPECT, frame

SHARES = (0.5, 0.25, 0.1)


def noise(seed: int, low: int = 0, high: int = 256) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(low, high, (60, 60, 3), np.uint8)
    return Image.fromarray(pixels)


CROP = Image.new("RGB", (64, 64), (250, 40, 10))
BACKGROUNDS = [noise(seed, 60, 120) for seed in range(5)]


@pytest.mark.parametrize("share", SHARES)
def test_the_crop_takes_its_share_of_the_frame_and_lies_inside(share: float) -> None:
    for seed in range(20):
        image, (x, y, w, h) = frame(CROP, share, BACKGROUNDS, np.random.default_rng(seed), 200)

        assert image.mode == "RGB"
        assert min(x, y) >= 0
        assert x + w <= image.width
        assert y + h <= image.height
        assert w * h / (image.width * image.height) == pytest.approx(share, rel=0.03)
        assert image.width * image.height == pytest.approx(200**2, rel=0.02)


@pytest.mark.parametrize("share", SHARES)
def test_the_box_is_where_the_crop_is(share: float) -> None:
    image, (x, y, w, h) = frame(CROP, share, BACKGROUNDS, np.random.default_rng(3), 200)

    inner = image.crop((int(x + w / 4), int(y + h / 4), int(x + w * 3 / 4), int(y + h * 3 / 4)))

    assert (np.asarray(inner) == (250, 40, 10)).all()


def test_a_frame_that_the_crop_fills_is_the_crop() -> None:
    crop = noise(1)
    for seed in range(5):
        image, box = frame(crop, 1.0, [], np.random.default_rng(seed), 90)

        assert box == (0, 0, *image.size)
        expected = crop.resize(image.size, Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_one_seed_gives_one_frame_and_another_seed_another() -> None:
    def made(seed: int) -> tuple[bytes, object]:
        image, box = frame(noise(7), 0.25, BACKGROUNDS, np.random.default_rng(seed), 120)
        return image.tobytes(), box

    assert made(0) == made(0)
    assert made(0) != made(1)


def test_sides_and_places_vary_within_their_bounds() -> None:
    made = [frame(CROP, 0.25, BACKGROUNDS, np.random.default_rng(seed), 200) for seed in range(60)]
    frames = np.array([image.width / image.height for image, _ in made])
    crops = np.array([w / h for _, (_, _, w, h) in made]) / frames
    middles = np.array(
        [((x + w / 2) / image.width, (y + h / 2) / image.height) for image, (x, y, w, h) in made]
    )

    for ratios in (frames, crops):
        assert ratios.min() > 0.97 / ASPECT
        assert ratios.max() < 1.03 * ASPECT
        assert ratios.max() / ratios.min() > 1.2
    assert middles.min(axis=0).max() < 0.4
    assert middles.max(axis=0).min() > 0.6


def test_the_surroundings_are_near_the_crop_in_colour_but_not_its_copy() -> None:
    # Gray photographs around a red crop: the surroundings turn red, by no more than it is.
    for seed in range(10):
        image, (x, y, w, h) = frame(CROP, 0.1, BACKGROUNDS, np.random.default_rng(seed), 200)
        pixels = np.asarray(image, float)
        outside = np.ones(pixels.shape[:2], bool)
        outside[int(y) : int(y + h), int(x) : int(x + w)] = False

        red, green, _ = pixels[outside].mean(axis=0)
        assert 20 < red - green <= 210
        assert pixels[outside].std(axis=0).min() > 1


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        frame(CROP, share, BACKGROUNDS, np.random.default_rng(0), 100)


def test_without_other_photographs_there_are_no_surroundings() -> None:
    with pytest.raises(ValueError, match="backgrounds"):
        frame(CROP, 0.5, [], np.random.default_rng(0), 100)
