"""Pictures that tests of decoding share."""

import io

import numpy as np
from PIL import Image

CAP = 1_000_000
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8))


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red and green on top, blue and white below."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the quarters, in reading order."""
    width, height = image.size
    return [
        image.getpixel((x, y))
        for y in (height // 4, 3 * height // 4)
        for x in (width // 4, 3 * width // 4)
    ]


def assert_close(colours: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    np.testing.assert_allclose(colours, expected, atol=12)
