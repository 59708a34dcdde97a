"""The JPEGs that every client sends: real photographs where they are, else drawn ones.

The photographs of the data set are thumbnails; they are enlarged to what a picture in a web page
has, so that there is as much to decode as in use.
"""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

BIRDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "birds" / "images"
COUNT = 64
SIZE = (800, 600)


def lay_out(target: Path, source: Path = BIRDS) -> str:
    """Write the same JPEGs on every call into an empty folder; returns what they are in words."""
    # Evenly over the sorted names: all species, and no choice to make.
    paths = sorted(source.glob("*/*.jpg"))
    if len(paths) < COUNT:
        files, kind = [drawn(seed) for seed in range(COUNT)], "drawn JPEGs of 500 x 375"
    else:
        chosen = paths[:: len(paths) // COUNT][:COUNT]
        files = [enlarged(path) for path in chosen]
        kind = "photographs, enlarged to {} x {}".format(*SIZE)
    for number, file in enumerate(files):
        (target / f"{number:03}.jpg").write_bytes(file)
    mean = sum(map(len, files)) / len(files) / 1024
    return f"{len(files)} {kind}, {mean:.1f} KiB on average"


def enlarged(path: Path) -> bytes:
    """A photograph as a JPEG of `SIZE`."""
    file = io.BytesIO()
    with Image.open(path) as image:
        large = image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    large.save(file, "JPEG", quality=90)
    return file.getvalue()


def drawn(seed: int) -> bytes:
    """500 x 375: smooth shapes and a sensor's noise, so that a JPEG of it has as much to decode."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = coarse.resize((500, 375), Image.Resampling.BICUBIC)
    edges = coarse.resize((500, 375), Image.Resampling.NEAREST)
    mixed = Image.blend(smooth, edges.filter(ImageFilter.GaussianBlur(2)), 0.4)
    noisy = np.asarray(mixed, np.float32) + generator.normal(0, 6, (375, 500, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def laid_out(folder: Path) -> list[bytes]:
    """What `lay_out` wrote."""
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def broken(files: list[bytes], count: int) -> list[bytes]:
    """Truncated JPEGs and garbage, in turn."""
    garbage = random.Random(1).randbytes(8_000)
    return [files[i][: len(files[i]) // 2] if i % 2 else garbage for i in range(count)]
