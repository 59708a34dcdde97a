"""`ImageDataset`: the pixels that the service sees, one tensor an image."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from model import preprocess
from model.data.dataset import ImageDataset
from model.data.images import MAX_PIXELS
from model.errors import DatasetError


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Noise at three shapes, the second one turned by its EXIF entry."""
    generator = np.random.default_rng(5)
    paths = []
    for at, shape in enumerate([(40, 60), (31, 23), (32, 32)]):
        image = Image.fromarray(generator.integers(0, 256, (*shape, 3), np.uint8))
        exif = Image.Exif()
        if at == 1:
            exif[0x0112] = 6  # orientation: turn right by 90 degrees
        paths.append(tmp_path / f"{at}.png")
        image.save(paths[-1], exif=exif)
    return paths


def test_the_pixels_are_those_that_the_service_decodes(paths: list[Path]) -> None:
    dataset = ImageDataset(paths, 32)

    assert len(dataset) == 3
    for path, tensor in zip(paths, (dataset[i] for i in range(3)), strict=True):
        assert tensor.shape == (32, 32, 3)
        assert tensor.dtype == torch.uint8
        served = preprocess.to_input(path.read_bytes(), 32, MAX_PIXELS)
        np.testing.assert_array_equal(tensor.numpy(), served)


def test_an_image_of_the_input_size_comes_through_unchanged(paths: list[Path]) -> None:
    expected = np.asarray(Image.open(paths[2]))

    np.testing.assert_array_equal(ImageDataset(paths, 32)[2].numpy(), expected)


def test_a_loader_with_workers_keeps_the_order(paths: list[Path]) -> None:
    dataset = ImageDataset(paths, 16)

    (batch,) = DataLoader(dataset, batch_size=3, num_workers=1)

    assert torch.equal(batch, torch.stack([dataset[i] for i in range(3)]))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_after_the_check_is_named(paths: list[Path], workers: int) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 90, 200)).save(buffer, "JPEG")
    paths[0].write_bytes(buffer.getvalue()[:-40])
    paths[1].unlink()
    loader = DataLoader(ImageDataset(paths[:1], 16), num_workers=workers)

    with pytest.raises(DatasetError, match=r"0\.png"):
        list(loader)
    with pytest.raises(DatasetError, match=r"1\.png"):
        ImageDataset(paths, 16)[1]
