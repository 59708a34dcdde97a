import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import BundleClass, Manifest
from model.errors import WeightsError
from model.sheets import AttributeSpace

SPACE = AttributeSpace(
    names=("size::small", "size::large", "wet"),
    groups=("size", "size", "wet"),
    tokens=(0, 0, 1),
    minimum=np.zeros(3, np.float32),
    maximum=np.full(3, 100, np.float32),
    mean=np.array([10, 20, 30], np.float32),
)
MANIFEST = Manifest(
    name="small",
    network={"backbone": {"name": "none"}},
    input_size=8,
    embedding_dim=4,
    grid=(2, 3),
    attributes=SPACE,
    temperature=0.1,
    gamma=1.5,
    scores={"czsl": 0.5},
    licence="ours",
)
CLASSES = (BundleClass("a", "A", (1.0, 2.0, 3.5)), BundleClass("b", "B", (0.0, 100.0, 0.25)))


@pytest.fixture
def bundle(tmp_path: Path) -> bundles.Bundle:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return bundles.write(tmp_path, MANIFEST, CLASSES)


def test_what_was_written_is_read_back(bundle: bundles.Bundle) -> None:
    again = bundles.read(bundle.path)
    assert again.classes == CLASSES
    assert again.sha256 == bundle.sha256
    for field in dataclasses.fields(Manifest):
        if field.name not in ("attributes", "files"):
            assert getattr(again.manifest, field.name) == getattr(MANIFEST, field.name)
    space = again.manifest.attributes
    assert (space.names, space.groups, space.tokens) == (SPACE.names, SPACE.groups, SPACE.tokens)
    np.testing.assert_array_equal(space.mean, SPACE.mean)


def test_what_int8_costs_is_kept_and_a_manifest_without_it_is_read(tmp_path: Path) -> None:
    int8 = {"calibration_images": 100, "validation": {"agreement": 0.99}}
    manifest = dataclasses.replace(MANIFEST, int8=int8)
    assert bundles.write(tmp_path, manifest, CLASSES).manifest.int8 == int8
    bundles.write(tmp_path, MANIFEST, CLASSES)
    assert "int8" not in json.loads((tmp_path / "manifest.json").read_text())
    assert bundles.read(tmp_path).manifest.int8 == {}


def test_what_validation_classes_decided_is_kept_and_a_manifest_without_it_is_read(
    tmp_path: Path,
) -> None:
    calibration = {"known_threshold": 6.5, "sheet_counts": 2.0}
    manifest = dataclasses.replace(MANIFEST, calibration=calibration)
    assert bundles.write(tmp_path, manifest, CLASSES).manifest.calibration == calibration
    bundles.write(tmp_path, MANIFEST, CLASSES)
    assert "calibration" not in json.loads((tmp_path / "manifest.json").read_text())
    assert bundles.read(tmp_path).manifest.calibration == {}


def test_the_manifest_names_every_file_by_its_hash(bundle: bundles.Bundle) -> None:
    expected = hashlib.sha256(b"weights").hexdigest()
    assert bundle.manifest.files["model.safetensors"] == expected
    assert set(bundle.manifest.files) == {"model.safetensors", "classes.json", "README.md"}
    assert bundles.verify(bundle) == ()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda p: (p / "model.safetensors").write_bytes(b"weighty"), "model.safetensors has sha"),
        (lambda p: (p / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda p: (p / "stray").write_bytes(b"?"), "stray is not in the manifest"),
    ],
)
def test_damage_is_named(bundle: bundles.Bundle, damage: object, complaint: str) -> None:
    damage(bundle.path)
    (problem,) = bundles.verify(bundles.read(bundle.path))
    assert problem.startswith(complaint)


def test_another_manifest_is_another_bundle(bundle: bundles.Bundle) -> None:
    other = bundles.write(bundle.path, dataclasses.replace(MANIFEST, gamma=2.0), CLASSES)
    assert other.sha256 != bundle.sha256


def test_a_folder_without_a_bundle_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="umzero train"):
        bundles.read(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1}', "{}"])
def test_a_broken_manifest_is_refused(bundle: bundles.Bundle, text: str) -> None:
    (bundle.path / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="can't be read"):
        bundles.read(bundle.path)


def test_classes_that_do_not_fit_the_manifest_are_refused(bundle: bundles.Bundle) -> None:
    rows = {"classes": [{"class_id": "a", "name": "A", "attributes": [1, 2]}]}
    (bundle.path / "classes.json").write_text(json.dumps(rows))
    with pytest.raises(WeightsError, match="2 attributes"):
        bundles.read(bundle.path)


def test_a_missing_file_is_named(bundle: bundles.Bundle) -> None:
    (bundle.path / "classes.json").unlink()
    with pytest.raises(WeightsError, match=r"classes\.json can't be read"):
        bundles.read(bundle.path)
