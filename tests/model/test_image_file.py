"""Every format and mode that people send, and everything that breaks."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from model.errors import ImageError
from model.image_file import decode, opened, upright_size
from model.preprocess import to_input
from tests.pictures import (
    BLUE,
    CAP,
    GREEN,
    NOISE,
    RED,
    WHITE,
    assert_close,
    corners,
    encoded,
    quarters,
)


def refusal(data: bytes, cap: int = CAP) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, cap)
    return caught.value.code


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 95}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_each_format_is_decoded_to_upright_rgb(image_format: str, options: dict) -> None:
    image = decode(encoded(quarters(), image_format, **options), CAP)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert_close(corners(image), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("image_format", ["PPM", "ICO", "TGA", "PDF", "EPS"])
def test_other_formats_are_refused_although_pillow_knows_them(image_format: str) -> None:
    assert refusal(encoded(quarters(), image_format)) == "image_unreadable"


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "P", "1"])
def test_every_mode_of_colour_becomes_rgb(mode: str) -> None:
    image_format = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    source = quarters().convert(mode)
    image = decode(encoded(source, image_format), CAP)
    assert image.mode == "RGB"
    assert_close(corners(image), corners(source.convert("RGB")))


def test_a_cmyk_jpeg_of_adobe_is_not_a_negative() -> None:
    # Adobe writes CMYK inverted and says so in an APP14 marker, as Pillow does when it saves.
    data = encoded(quarters().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert_close(corners(decode(data, CAP)), [RED, GREEN, BLUE, WHITE])


def test_transparency_shows_white_paper() -> None:
    image = quarters().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    image.paste((*RED, 128), (0, 0, 32, 24))
    image = decode(encoded(image, "PNG"), CAP)
    assert corners(image) == [(255, 127, 127), WHITE, WHITE, WHITE]


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_shows_white_paper(image_format: str) -> None:
    image = quarters().quantize(4)
    hidden = image.getpixel((1, 1))
    data = encoded(image, image_format, transparency=hidden)
    assert corners(decode(data, CAP)) == [WHITE, GREEN, BLUE, WHITE]


def test_gray_with_alpha_and_a_transparent_colour_of_an_rgb_png_show_white_paper() -> None:
    gray = Image.new("LA", (4, 4), (0, 0))
    assert decode(encoded(gray, "PNG"), CAP).getpixel((0, 0)) == WHITE
    keyed = encoded(Image.new("RGB", (4, 4), RED), "PNG", transparency=RED)
    assert decode(keyed, CAP).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_shades(image_format: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = decode(encoded(Image.fromarray(ramp), image_format), CAP)
    expected = np.round(ramp / 65535 * 255)
    assert np.abs(np.asarray(image)[..., 1] - expected).max() <= 1
    assert np.unique(np.asarray(image)).size == 256


def test_big_endian_sixteen_bits_are_read_in_their_order() -> None:
    image = Image.frombytes("I;16B", (2, 1), b"\x00\xff\xff\x00")
    pixels = np.asarray(decode(encoded(image, "TIFF"), CAP))[0, :, 0]
    assert pixels.tolist() == [1, 254]


def test_sixteen_bit_colour_is_brought_to_eight() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = b"\x00" + struct.pack(">HHH", 0xFFFF, 0x8000, 0x0100)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixel))
    assert decode(png + chunk(b"IEND", b""), CAP).getpixel((0, 0)) == (255, 128, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 50_000, 100_000]], np.int32), [0, 128, 255]),
        (np.array([[-1, 0, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, np.nan, 1]], np.float32), [0, 0, 255]),
        (np.array([[0, 0, 0]], np.float32), [0, 0, 0]),
    ],
)
def test_numbers_without_a_scale_get_the_smallest_usual_one(
    values: np.ndarray, expected: list[int]
) -> None:
    image = decode(encoded(Image.fromarray(values), "TIFF"), CAP)
    assert np.asarray(image)[0, :, 0].tolist() == expected


def test_only_the_first_frame_of_an_animation_is_seen() -> None:
    first, second = quarters(), Image.new("RGB", (64, 48), BLUE)
    for image_format in ("GIF", "WEBP", "TIFF", "PNG"):
        data = encoded(first, image_format, save_all=True, append_images=[second])
        assert_close(corners(decode(data, CAP)), [RED, GREEN, BLUE, WHITE])


# What the first row and column of the stored pixels are, for each orientation (EXIF 2.32, 4.6.4).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_set_upright(image_format: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](np.asarray(quarters())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored), image_format, exif=exif.tobytes())
    image = decode(data, CAP)
    assert image.size == (64, 48)
    assert_close(corners(image), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_known_before_anything_is_decoded(
    image_format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(quarters(), image_format, exif=exif.tobytes())
    with opened(data, CAP) as image:
        size = upright_size(image)
    assert size == decode(data, CAP).size == ((64, 48) if orientation < 5 else (48, 64))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_of_a_tiff_holds_where_its_xmp_says_how_it_lies(orientation: int) -> None:
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'.encode()
    data = encoded(quarters(), "TIFF", tiffinfo={700: xmp})
    with opened(data, CAP) as image:
        assert upright_size(image) == decode(data, CAP).size


@pytest.mark.parametrize("exif", [b"Exif\x00\x00MM\x00*junk", b"Exif\x00\x00", b"\xff" * 40])
def test_broken_metadata_does_not_refuse_good_pixels(exif: bytes) -> None:
    image = decode(encoded(quarters(), "JPEG", exif=exif), CAP)
    assert image.size == (64, 48)


def test_a_colour_profile_does_not_disturb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = decode(encoded(quarters(), "PNG", icc_profile=profile), CAP)
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"\x00" * 100_000, b"hello", b"<svg/>", b"%PDF-1.7", b"\xff\xd8\xff", b"GIF89a"],
)
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    assert refusal(data) in {"image_unreadable", "image_truncated"}


def test_no_bytes_are_refused_in_their_own_words() -> None:
    assert refusal(b"") == "image_empty"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_cut_off_image_is_refused_and_not_half_gray(image_format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), image_format)
    assert refusal(data[: int(len(data) * share)]) == "image_truncated"


@pytest.mark.parametrize("image_format", ["WEBP", "TIFF"])
def test_a_cut_off_image_of_a_container_is_refused(image_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), image_format)
    assert refusal(data[: len(data) // 2]) in {"image_truncated", "image_unreadable"}


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png(width: int, height: int) -> bytes:
    """A valid header of a PNG whose pixels are not there: they must not be asked for."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (2_000, 1_000), (1, 2_000_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    assert refusal(huge_png(*size)) == "image_too_large"


def test_the_pixel_cap_itself_is_allowed() -> None:
    data = encoded(quarters(10, 10), "PNG")
    assert decode(data, 100).size == (10, 10)
    assert refusal(data, 99) == "image_too_large"


def test_a_whole_30000_by_30000_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (30_000, 30_000)).save(path)
    assert refusal(path.read_bytes(), 50_000_000) == "image_too_large"


def mutated(data: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    changed = bytearray(data)
    for place, value in edits:
        changed[place % len(changed)] = value
    return bytes(changed[: len(changed) - cut % len(changed)])


VICTIMS = {f: encoded(NOISE, f) for f in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")}


@settings(deadline=None, max_examples=400)
@given(
    image_format=st.sampled_from(sorted(VICTIMS)),
    edits=st.lists(st.tuples(st.integers(0, 120) | st.integers(0, 5000), st.integers(0, 255))),
    cut=st.just(0) | st.integers(0, 5000),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_an_image_or_an_image_error(
    image_format: str, edits: list[tuple[int, int]], cut: int
) -> None:
    # Any other exception than ImageError fails the test.
    with contextlib.suppress(ImageError):
        pixels = to_input(mutated(VICTIMS[image_format], edits, cut), 8, CAP)
        assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)


@pytest.mark.parametrize("cut", [1, 12, 16])
def test_a_png_without_its_end_is_truncated(cut: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(file, "PNG")
    with pytest.raises(ImageError) as error:
        decode(file.getvalue()[:-cut], 10_000)
    assert error.value.code == "image_truncated"
