"""The fake backend: its rule holds, and it is as strict as a real one."""

import time
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.preprocess import to_input
from model.runtime.base import U8
from model.runtime.fake import FAKE_CLASSES, FakeBackend, draw, write_fake_bundle
from model.scoring import cosine_logits
from model.sheets import AttributeSpace, fill

CAP = 1_000_000


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_fake_bundle(tmp_path / "tiny")


def pictures(bundle: Bundle, image_format: str, size: int = 96) -> U8:
    """(B, S, S, 3): a picture of each of the bundle's classes, through a file."""
    space = bundle.manifest.attributes
    files = [draw(np.float32(c.attributes), space, size, image_format) for c in bundle.classes]
    return np.stack([to_input(file, bundle.manifest.input_size, CAP) for file in files])


def test_the_bundle_is_a_real_one(bundle: Bundle) -> None:
    assert bundles.verify(bundle) == ()
    assert bundles.read(bundle.path).sha256 == bundle.sha256
    assert [c.name for c in bundle.classes] == list(FAKE_CLASSES)
    assert len(bundle.manifest.attributes) == 9
    mean = np.mean([c.attributes for c in bundle.classes], axis=0)
    np.testing.assert_allclose(bundle.manifest.attributes.mean, mean)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [32, 97, 200])
def test_a_picture_of_a_class_is_nearest_to_its_prototype(
    bundle: Bundle, image_format: str, size: int
) -> None:
    backend = FakeBackend.of(bundle)
    prototypes = backend.prototypes(np.float32([c.attributes for c in bundle.classes]))
    embedding = backend.embed(pictures(bundle, image_format, size)).embedding
    logits = cosine_logits(embedding, prototypes, 1.0)
    assert logits.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert logits.diagonal().min() > 0.99


def test_a_class_of_which_nobody_knew_is_told_apart(bundle: Bundle) -> None:
    backend, space = FakeBackend.of(bundle), bundle.manifest.attributes
    sheet = fill({"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}, space).values
    known = np.float32([c.attributes for c in bundle.classes])
    image = to_input(draw(sheet, space), bundle.manifest.input_size, CAP)
    scores = backend.embed(image[None]).embedding @ backend.prototypes(np.vstack([known, sheet])).T
    assert scores.argmax() == len(known)


def test_a_red_top_third_is_a_red_crown() -> None:
    image = np.zeros((1, 30, 30, 3), np.uint8)
    image[:, :10, :, 0] = 255
    assert FakeBackend(input_size=30).embed(image).attributes.tolist() == [[100] + [0] * 8]


def test_a_token_of_many_attributes_is_read_from_its_cells() -> None:
    space = AttributeSpace(
        names=tuple("abcdefg"),
        groups=tuple("abcdefg"),
        tokens=(0, 0, 0, 0, 0, 1, 1),
        minimum=np.full(7, -1, np.float32),
        maximum=np.full(7, 1, np.float32),
        mean=np.zeros(7, np.float32),
    )
    sheet = np.float32([1, -1, 1, 0.2, -0.6, 0.4, -0.2])
    backend = FakeBackend(
        7, 2, 24, (3, 2), tokens=space.tokens, minimum=space.minimum, maximum=space.maximum
    )
    read = backend.embed(to_input(draw(sheet, space, 24), 24, CAP)[None]).attributes[0]
    np.testing.assert_allclose(read, sheet, atol=1 / 255)


def test_the_space_of_cub_fits() -> None:
    backend = FakeBackend(attribute_count=312, token_count=28, input_size=224, grid=(7, 7))
    embedded = backend.embed(np.zeros((2, 224, 224, 3), np.uint8))
    assert [part.shape for part in embedded] == [
        (2, 313),
        (2, 312),
        (2, 28, 7, 7),
        (2, 1, 7, 7),
        (2, 1, 7, 7),
    ]
    assert backend.info.embedding_dim == 313


def test_rows_have_unit_length_and_maps_sum_to_one(bundle: Bundle) -> None:
    backend = FakeBackend.of(bundle)
    gray = np.full((1, 32, 32, 3), 128, np.uint8)
    embedded = backend.embed(np.concatenate([pictures(bundle, "PNG"), gray]))
    prototypes = backend.prototypes(np.full((1, 9), 50, np.float32))
    for rows in (embedded.embedding, prototypes):
        np.testing.assert_allclose((rows.astype(float) ** 2).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(embedded.maps.sum(axis=(2, 3)), 1, rtol=1e-6)
    crown, wing = embedded.maps[0, 0], embedded.maps[0, 2]
    assert crown[0].sum() > crown[3].sum() == 0
    assert wing[3].sum() > wing[0].sum() == 0


def test_an_image_gets_the_same_bits_in_any_batch(bundle: Bundle) -> None:
    backend, images = FakeBackend.of(bundle), pictures(bundle, "JPEG")
    together = backend.embed(images)
    for i in range(len(images)):
        alone = backend.embed(images[i : i + 1])
        for part, whole in zip(alone, together, strict=True):
            assert (part[0] == whole[i]).all()
    assert backend.batch_sizes == [4, 1, 1, 1, 1]


def test_it_says_what_it_runs(bundle: Bundle) -> None:
    info = FakeBackend.of(bundle).info
    assert (info.bundle, info.bundle_sha256) == ("tiny", bundle.sha256)
    assert info.embedding_dim == bundle.manifest.embedding_dim
    assert info.grid == bundle.manifest.grid


def test_it_fails_when_it_is_told_to(bundle: Bundle) -> None:
    def fail(images: U8) -> Exception | None:
        return OSError("no power") if images.max() == 255 else None

    backend = FakeBackend.of(bundle, fail=fail)
    assert len(backend.embed(np.zeros((3, 32, 32, 3), np.uint8)).embedding) == 3
    with pytest.raises(OSError, match="no power"):
        backend.embed(np.full((1, 32, 32, 3), 255, np.uint8))


def test_it_sleeps_as_long_as_it_is_told_to(bundle: Bundle, monkeypatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    FakeBackend.of(bundle, delay_s=0.25).embed(np.zeros((1, 32, 32, 3), np.uint8))
    assert slept == [0.25]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 31, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 32, 32), np.uint8),
    ],
)
def test_images_of_another_shape_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(B, 32, 32, 3\)"):
        FakeBackend().embed(images)


@pytest.mark.parametrize("shape", [(9,), (1, 8)])
def test_sheets_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(C, 9\)"):
        FakeBackend().prototypes(np.zeros(shape, np.float32))


def test_more_attributes_than_an_embedding_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 511"):
        FakeBackend(attribute_count=512)


def test_a_closed_backend_says_so() -> None:
    backend = FakeBackend()
    backend.close()
    with pytest.raises(RuntimeError, match="closed"):
        backend.prototypes(np.zeros((1, 9), np.float32))
    with pytest.raises(RuntimeError, match="closed"):
        backend.embed(np.zeros((1, 32, 32, 3), np.uint8))
