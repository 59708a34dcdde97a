"""A data set's image files: which can be decoded, the check before hours of work; and decoded."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from model.data.problems import Problems
from model.errors import DatasetError, ImageError
from model.image_file import FORMATS, check_end, decode

MAX_PIXELS = 100_000_000


def check_images(paths: Sequence[Path], problems: Problems) -> None:
    """Decode every image at its cheapest and name those that fail."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, complaint in zip(paths, pool.map(_complaint, paths), strict=True):
            if complaint:
                problems.add(f"{problems.relative(path)} {complaint}")


def opened(path: Path) -> Image.Image:
    """A data set's photograph.

    Raises:
        DatasetError: it can't be read or decoded; the message names it.
    """
    try:
        return decode(path.read_bytes(), MAX_PIXELS)
    except (OSError, ImageError) as error:
        raise DatasetError(f"{path} can't be used: {error}") from error


def _complaint(path: Path) -> str | None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return (
                    f"has {image.width} x {image.height} pixels, at most {MAX_PIXELS} are allowed"
                )
            # Headers alone (`verify`) let truncated JPEGs pass; a JPEG decodes at 1/8 for little.
            image.draft("RGB", (1, 1))
            image.load()
            check_end(image.format, path.read_bytes())
    # Pillow's decoders raise what they like on damaged files: OSError, ValueError, SyntaxError...
    except Exception as error:  # noqa: BLE001
        return f"can't be decoded: {error}"
    return None
