"""Bad and unusual images: each either works or is a 4xx with a code, and the next request works."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def next_request_works(http: httpx.Client, picture: Picture) -> Iterator[None]:
    yield
    response = http.post("/classify", content=picture("Robin"))
    assert response.json()["predictions"][0]["name"] == "Robin"


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size, with pixels of one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(1 + 3 * width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data", [b"hello", b"\x00" * 1000, b"GIF89a", b"\xff\xd8\xff", b"<svg></svg>", b"%PDF-1.7"]
)
def test_what_is_no_image_is_refused(http: httpx.Client, problem: Problem, data: bytes) -> None:
    problem(http.post("/classify", content=data), 422, "image_unreadable")


@pytest.mark.parametrize("kind", ["image/png", "application/json", None])
def test_an_empty_body_is_refused(http: httpx.Client, problem: Problem, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}

    problem(http.post("/classify", content=b"", headers=headers), 422, "image_empty")


def test_an_empty_field_is_refused(http: httpx.Client, problem: Problem) -> None:
    problem(http.post("/classify", files={"image": ("x", b"")}), 422, "image_empty")


def test_a_truncated_jpeg_is_refused(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    data = picture("Robin", "JPEG", 400)

    problem(http.post("/classify", content=data[: len(data) // 2]), 422, "image_truncated")


def test_a_png_of_30000_by_30000_pixels_is_refused(http: httpx.Client, problem: Problem) -> None:
    body = problem(
        http.post("/classify", content=png_of_size(30_000, 30_000)), 413, "image_too_large"
    )

    assert "50000000 are allowed" in body["detail"]


def test_100_megabytes_of_zeros_are_refused_however_they_come(
    http: httpx.Client, problem: Problem
) -> None:
    piece, count = bytes(1_000_000), 100
    whole = piece * count

    problem(http.post("/classify", content=whole), 413, "body_too_large")
    problem(http.post("/classify", content=(piece for _ in range(count))), 413, "body_too_large")
    problem(http.post("/classify", files={"image": whole}), 413, "body_too_large")
    response = http.post("/classes", content=whole, headers={"content-type": "application/json"})
    problem(response, 413, "body_too_large")


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_formats_that_people_have_are_read(
    http: httpx.Client, picture: Picture, image_format: str
) -> None:
    image = Image.open(io.BytesIO(picture("Cardinal")))
    response = http.post("/classify", content=encoded(image, image_format))

    assert response.json()["predictions"][0]["name"] == "Cardinal"


def test_of_an_animated_gif_the_first_frame_counts(http: httpx.Client, picture: Picture) -> None:
    frames = [Image.open(io.BytesIO(picture(name))) for name in ("Jay", "Robin")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    assert http.post("/classify", content=data).json()["predictions"][0]["name"] == "Jay"


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "L", "LA", "1", "I;16"])
def test_unusual_modes_are_answered(http: httpx.Client, picture: Picture, mode: str) -> None:
    image = Image.open(io.BytesIO(picture("Parrot")))
    if mode == "I;16":
        grey = np.asarray(image.convert("L"), np.uint16) * 257
        image = Image.fromarray(grey)
    else:
        image = image.convert(mode)
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG")

    response = http.post("/classify", content=data)

    assert response.status_code == 200, response.text
    if mode in ("CMYK", "P", "RGBA"):
        assert response.json()["predictions"][0]["name"] == "Parrot"


def test_a_cmyk_jpeg_is_answered(http: httpx.Client, picture: Picture) -> None:
    image = Image.open(io.BytesIO(picture("Robin"))).convert("CMYK")

    response = http.post("/classify", content=encoded(image, "JPEG", quality=95))

    assert response.json()["predictions"][0]["name"] == "Robin"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_seen_upright(
    http: httpx.Client, picture: Picture, orientation: int
) -> None:
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = Image.open(io.BytesIO(picture("Parrot")))
    for turn in undo.get(orientation, []):
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation

    response = http.post("/classify", content=encoded(image, "JPEG", exif=exif, quality=95))

    assert response.json()["predictions"][0]["name"] == "Parrot"


def test_one_pixel_is_an_image(http: httpx.Client) -> None:
    data = encoded(Image.new("RGB", (1, 1), (255, 0, 0)), "PNG")

    assert http.post("/classify", content=data).status_code == 200
