"""Images to the network's input: squashed, boxed, shrunk while they are decoded."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import ImageError
from model.image_file import decode
from model.preprocess import Box, fit, region, to_input
from tests.pictures import BLUE, CAP, GREEN, NOISE, RED, WHITE, encoded, quarters


def test_fit_squashes_the_whole_image_to_a_square() -> None:
    pixels = fit(quarters(64, 20), 40)
    assert (pixels.shape, pixels.dtype) == ((40, 40, 3), np.uint8)
    assert [pixels[y, x].tolist() for y in (5, 35) for x in (5, 35)] == [
        [*RED],
        [*GREEN],
        [*BLUE],
        [*WHITE],
    ]


def test_shrinking_averages_over_what_it_leaves_out() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = fit(Image.fromarray(np.stack([board] * 3, axis=-1).astype(np.uint8)), 8)
    assert np.abs(pixels.astype(int) - 127).max() <= 6


def test_an_image_of_one_pixel_fills_the_input() -> None:
    pixels = to_input(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), 5, CAP)
    assert (pixels == [9, 8, 7]).all()


def test_a_box_gives_what_the_cropped_picture_gives() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), "PNG")
    cropped = encoded(Image.fromarray(np.ascontiguousarray(noise[4:33, 7:28])), "PNG")
    expected = to_input(cropped, 16, CAP)
    assert (to_input(whole, 16, CAP, (7, 4, 21, 29)) == expected).all()
    assert (to_input(whole, 16, CAP, (7.2, 4.9, 20.5, 27.2)) == expected).all()


def test_a_box_is_clipped_to_the_image() -> None:
    image = quarters()
    assert (fit(image, 8, (-1e300, -5, 2e300, 1e308)) == fit(image, 8)).all()
    assert (fit(image, 8, (-32, -24, 64, 48)) == [*RED]).all()
    assert (fit(image, 8, (32.0, 24.0, 1e9, 1e9)) == [*WHITE]).all()


def test_a_box_smaller_than_a_pixel_is_that_pixel() -> None:
    assert (fit(quarters(), 8, (40.3, 10.2, 1e-30, 1e-30)) == [*GREEN]).all()


def test_a_box_counts_in_pixels_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(quarters()))))
    data = encoded(stored, "PNG", exif=exif.tobytes())
    assert (to_input(data, 8, CAP, (32, 0, 32, 24)) == [*GREEN]).all()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_region_of_a_photograph_on_its_side_is_counted_in_the_upright_one(
    image_format: str,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(quarters(64, 48), image_format, exif=exif.tobytes())
    assert region(data, CAP) == (0, 0, 48, 64)
    assert region(data, CAP, (40, 50, 100, 100)) == (40, 50, 8, 14)


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ((0, 0, 0, 5), "box_invalid"),
        ((0, 0, 5, -1), "box_invalid"),
        ((float("nan"), 0, 5, 5), "box_invalid"),
        ((0, 0, float("inf"), 5), "box_invalid"),
        ((0, 0, 5), "box_invalid"),
        ((64, 0, 5, 5), "box_outside"),
        ((0, 48, 5, 5), "box_outside"),
        ((-5, 0, 5, 5), "box_outside"),
        ((0, -1e300, 5, 5), "box_outside"),
    ],
)
def test_a_box_that_is_none_or_elsewhere_is_refused(box: tuple, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        fit(quarters(), 8, box)
    assert caught.value.code == code


def test_many_threads_decode_the_same() -> None:
    data = encoded(NOISE, "JPEG")
    expected = to_input(data, 12, CAP)
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda _: to_input(data, 12, CAP), range(64)):
            assert (pixels == expected).all()


def test_real_photographs_are_squashed_as_pillow_does(birds_dir: Path) -> None:
    for path in sorted((birds_dir / "images").glob("*/*.jpg"))[::700]:
        with Image.open(path) as image:
            expected = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        assert (to_input(path.read_bytes(), 224, CAP) == np.asarray(expected)).all()


def photograph(width: int, height: int, orientation: int = 1) -> bytes:
    """A JPEG of smooth colours; what decoding at a fraction of its size loses is little."""
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = (waves * 100 + 128).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif.tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("box", [None, (30, 20, 301, 350), (0, 0, 90, 80), (0, 0, 9e9, 9e9)])
def test_a_large_jpeg_that_is_shrunk_while_it_is_decoded_looks_the_same(
    orientation: int, box: tuple | None
) -> None:
    data = photograph(803, 601, orientation)
    exact = fit(decode(data, CAP), 24, box)
    gap = np.abs(to_input(data, 24, CAP, box).astype(int) - exact)
    assert gap.mean() < 1
    assert gap.max() <= 8


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        (400, None, (803, 601)),  # less than twice the input
        (100, None, (402, 301)),
        (24, None, (101, 76)),
        (24, (0, 0, 100, 300), (402, 301)),  # what counts is the part that is looked at
        (24, (0, 0, 50, 50), (803, 601)),
    ],
)
def test_a_jpeg_is_shrunk_as_far_as_leaves_twice_the_input(
    size: int, box: tuple | None, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    resize = Image.Image.resize

    def spy(image: Image.Image, *arguments: object) -> Image.Image:
        decoded.append(image.size)
        return resize(image, *arguments)

    monkeypatch.setattr(Image.Image, "resize", spy)
    monkeypatch.setattr(Image.Image, "crop", lambda image, _: image)
    to_input(photograph(803, 601), size, CAP, box)
    assert set(decoded) == {expected}


def test_other_formats_are_decoded_whole() -> None:
    image = decode(photograph(803, 601), CAP)
    assert (to_input(encoded(image, "PNG"), 24, CAP) == fit(image, 24)).all()


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_large_jpeg_that_was_cut_off_is_refused(share: float) -> None:
    data = photograph(803, 601)
    with pytest.raises(ImageError) as caught:
        to_input(data[: int(share * len(data))], 24, CAP)
    assert caught.value.code == "image_truncated"


@pytest.mark.parametrize("size", [224, 255, 448])
@pytest.mark.parametrize("box", [None, (31.5, 7.25, 500.0, 610.0)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_helper_changes_no_pixel(size: int, box: Box | None, kind: str) -> None:
    noise = np.random.default_rng(size).integers(0, 256, (701, 903, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    with ThreadPoolExecutor(1) as helper:
        helped = to_input(file.getvalue(), size, 10**6, box, helper)
    np.testing.assert_array_equal(helped, to_input(file.getvalue(), size, 10**6, box))


@pytest.mark.parametrize("size", [224, 255])
def test_the_halves_of_a_large_image_meet_without_a_seam(size: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (701, 903, 3), np.uint8))
    whole = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    # Pillow's sums are in fixed point: they may round in another way.
    assert np.abs(fit(image, size) - whole).max() <= 1


def test_nobody_waits_for_a_helper_that_is_busy_with_something_else() -> None:
    data = encoded(Image.new("RGB", (700, 700), RED), "PNG")
    leave = threading.Event()
    with ThreadPoolExecutor(1) as helper:
        busy = helper.submit(leave.wait, 60)
        helped = to_input(data, 224, CAP, None, helper)
        assert not busy.done()
        leave.set()
    np.testing.assert_array_equal(helped, to_input(data, 224, CAP))
