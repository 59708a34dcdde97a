"""`Framed`: a training photograph's second view."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.data import augment, frames
from model.data.augment import SHARES, Framed
from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import DatasetError
from tests.shapes import write_shapes

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ZeroShotData:
    root = tmp_path_factory.mktemp("framed") / "shapes"
    write_shapes(root)
    return read(root)


@pytest.fixture
def one_colour(tmp_path: Path) -> Callable[[str], Path]:
    def written(name: str) -> Path:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (90, 90), (255, 0, 255)).save(path)
        return path

    return written


def test_the_object_takes_the_share_that_was_asked_for(
    data: ZeroShotData, one_colour: Callable[[str], Path]
) -> None:
    paths = [one_colour(f"object{i}") for i in range(30)]
    framed = Framed(paths, SIZE, data)
    shares = []
    for i in range(len(framed)):
        pixels = framed[i].int()
        assert pixels.shape == (SIZE, SIZE, 3)
        own = (pixels - torch.tensor([255, 0, 255])).abs().sum(dim=2) < 30
        shares.append(own.float().mean().item())
    # Its border goes on a little around it, and edges are smoothed.
    assert SHARES[0] * 0.8 < min(shares) < 0.45
    assert 0.6 < max(shares) <= 1


def test_a_photograph_has_one_second_view_wherever_it_stands(data: ZeroShotData) -> None:
    paths = [data.images[i] for i in data.train[:4]]
    first, second = Framed(paths, SIZE, data), Framed(paths[::-1], SIZE, data)
    for i in range(4):
        assert torch.equal(first[i], second[3 - i])
    assert not torch.equal(first[0], first[1])


def test_a_photograph_whose_name_is_not_utf_8_has_a_second_view(
    data: ZeroShotData, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copyfile(data.images[0], path)
    assert Framed([path], SIZE, data)[0].shape == (SIZE, SIZE, 3)


def test_some_are_mirrored(data: ZeroShotData, tmp_path: Path) -> None:
    left_red = Image.new("RGB", (60, 60), "blue")
    left_red.paste("red", (0, 0, 30, 60))
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path in paths:
        left_red.save(path)
    framed = Framed(paths, SIZE, data)
    turned = []
    for i in range(20):
        red, blue = (framed[i][..., c].numpy() > 200 for c in (0, 2))
        turned.append(np.nonzero(red)[1].mean() > np.nonzero(blue)[1].mean())
    assert 4 <= sum(turned) <= 16


def test_frames_are_made_of_training_photographs_alone(data: ZeroShotData, tmp_path: Path) -> None:
    paths = [data.images[i] for i in data.train[:2]]
    tests = {*data.test_seen.tolist(), *data.test_unseen.tolist()}
    gone = tmp_path / "not there.png"
    images = tuple(gone if i in tests else path for i, path in enumerate(data.images))
    without_tests = ZeroShotData(**vars(data) | {"images": images})
    assert torch.equal(Framed(paths, SIZE, without_tests)[0], Framed(paths, SIZE, data)[0])


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Image.Image]:
    """The photographs that the last frame was made of."""
    backgrounds: list[Image.Image] = []

    def frame(crop: Image.Image, share: float, given: list[Image.Image], *rest: Any) -> Any:
        backgrounds[:] = given
        return frames.frame(crop, share, given, *rest)

    monkeypatch.setattr(augment, "frame", frame)
    return backgrounds


def test_photographs_of_three_input_sizes_or_less_go_into_frames_as_they_are(
    data: ZeroShotData, shown: list[Image.Image]
) -> None:
    sizes = (72, 25, 24)  # the photographs are of 72 x 72 pixels
    for size in sizes:
        assert Framed(data.images[:1], size, data)[0].shape == (size, size, 3)
        found = sorted(image.tobytes() for image in shown)
        assert found == sorted(Image.open(data.images[i]).tobytes() for i in data.train)


def test_larger_photographs_are_kept_at_three_input_sizes(
    data: ZeroShotData, shown: list[Image.Image], tmp_path: Path
) -> None:
    x, y = np.meshgrid(np.linspace(0, 255, 800), np.linspace(0, 255, 600))
    slope = Image.fromarray(np.stack([x, y, x], axis=-1).astype(np.uint8))
    paths = [tmp_path / f"{number}.png" for number in range(len(data.images))]
    slope.save(paths[0])
    for path in paths[1:]:
        path.hardlink_to(paths[0])

    Framed(paths[:1], 64, replace(data, images=tuple(paths)))[0]

    assert len(shown) == len(data.train)
    for image in shown:
        assert image.size == (256, 192)
    expected = slope.resize((256, 192), Image.Resampling.BOX)
    gap = np.abs(np.asarray(shown[0]).astype(int) - np.asarray(expected))
    assert gap.max() <= 2


def test_a_file_that_is_no_image_is_named(data: ZeroShotData, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        Framed([path], SIZE, data)[0]
