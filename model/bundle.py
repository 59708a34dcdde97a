"""A bundle is a folder: everything that serving needs, and a manifest with the sha256 of each file.

    weights/<name>/manifest.json  model.safetensors  embed.onnx  prototypes.onnx  classes.json
                   README.md, a model card
                   embed.int8.onnx, where `umzero export --int8` wrote one

Nothing in it is pickled, and this module only reads, writes and hashes: it opens no weights.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.card import card
from model.errors import WeightsError
from model.sheets import AttributeSpace

FORMAT = 1
MANIFEST = "manifest.json"
CLASSES = "classes.json"
CARD = "README.md"


@dataclass(frozen=True)
class BundleClass:
    """A class that the bundle was trained on."""

    class_id: str
    name: str
    attributes: tuple[float, ...]  # (A,), on the sheet's scale


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    `network` is `ModelConfig.to_json()`; serving never reads it. `temperature` divides cosines;
    `gamma` is in the units of the logits that come out. `int8` says how embed.int8.onnx was made
    and what it costs; it is empty where there is none:

        {"validation": {"fp32": {"czsl", "u", "s", "h"}, "int8": {the same}, "agreement",
                        "mean_cosine", "lowest_cosine", "photographs"},
         "calibration_images", "command"}

    `calibration` is what else validation classes decided, where they did (`model.training.
    calibration`): {"known_threshold", "false_alarms", "sheet_counts", ...}.
    """

    name: str
    network: dict[str, Any]
    input_size: int
    embedding_dim: int
    grid: tuple[int, int]
    attributes: AttributeSpace
    temperature: float
    gamma: float
    scores: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    int8: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # file name -> sha256


@dataclass(frozen=True)
class Bundle:
    """A bundle read from `path`; `sha256` is the manifest's own, so it covers every file."""

    path: Path
    manifest: Manifest
    classes: tuple[BundleClass, ...]
    sha256: str

    @property
    def name(self) -> str:
        return self.manifest.name


def read(path: Path | str) -> Bundle:
    """Read a bundle's manifest and classes.

    Raises:
        WeightsError: no bundle there, another format, or a manifest that doesn't fit its classes.
    """
    path = Path(path)
    try:
        raw = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise WeightsError(
            f"no bundle at {path}: {MANIFEST} can't be read ({error.strerror}). "
            "Give the folder that `umzero train` wrote, for instance weights/birds"
        ) from error
    try:
        manifest = _manifest_from_json(json.loads(raw))
        classes = tuple(
            BundleClass(c["class_id"], c["name"], tuple(map(float, c["attributes"])))
            for c in json.loads((path / CLASSES).read_bytes())["classes"]
        )
    except OSError as error:
        raise WeightsError(f"{path / CLASSES} can't be read ({error.strerror})") from error
    except KeyError as error:
        raise WeightsError(
            f"{path} is no whole bundle: its JSON can't be read, {error} is missing"
        ) from error
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{path} is no whole bundle: its JSON can't be read ({error})"
        ) from error
    expected = len(manifest.attributes.names)
    for item in classes:
        if len(item.attributes) != expected:
            raise WeightsError(
                f"class {item.class_id} of {path} has {len(item.attributes)} attributes; "
                f"the manifest names {expected}"
            )
    return Bundle(path, manifest, classes, hashlib.sha256(raw).hexdigest())


def write(path: Path | str, manifest: Manifest, classes: tuple[BundleClass, ...]) -> Bundle:
    """Write classes, model card and manifest beside the files that already lie in `path`, hashing
    them all. A bundle that others may read is changed in a copy: `model.place.rewritten`."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "class_id": c.class_id,
            "name": c.name,
            "attributes": [round(float(a), 6) for a in c.attributes],
        }
        for c in classes
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    (path / CLASSES).write_text(f'{{"classes": [\n{lines}\n]}}\n')
    (path / CARD).write_text(card(manifest, classes))
    names = sorted(p.name for p in path.iterdir() if p.is_file() and p.name != MANIFEST)
    files = {name: file_sha256(path / name) for name in names}
    (path / MANIFEST).write_text(json.dumps(_manifest_to_json(manifest, files), indent=1) + "\n")
    return read(path)


def verify(bundle: Bundle) -> tuple[str, ...]:
    """Hash every file; returns what is wrong, in words (empty: all is well)."""
    problems = []
    for name, expected in bundle.manifest.files.items():
        file = bundle.path / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif (actual := file_sha256(file)) != expected:
            problems.append(f"{name} has sha256 {actual[:12]}…, the manifest says {expected[:12]}…")
    listed = {MANIFEST, *bundle.manifest.files}
    problems += [
        f"{p.name} is not in the manifest"
        for p in sorted(bundle.path.iterdir())
        if p.name not in listed
    ]
    return tuple(problems)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_to_json(manifest: Manifest, files: dict[str, str]) -> dict[str, Any]:
    space = manifest.attributes
    return {
        "format": FORMAT,
        "name": manifest.name,
        "network": manifest.network,
        "input": {
            "size": manifest.input_size,
            "channels": "RGB",
            "dtype": "uint8",
            "resize": "bicubic, the whole image or box squashed to a square",
        },
        "embedding_dim": manifest.embedding_dim,
        "grid": list(manifest.grid),
        "temperature": manifest.temperature,
        "gamma": manifest.gamma,
        "scores": manifest.scores,
        "training": manifest.training,
        "licence": manifest.licence,
        **({"int8": manifest.int8} if manifest.int8 else {}),
        **({"calibration": manifest.calibration} if manifest.calibration else {}),
        "files": files,
        "attributes": {
            "names": list(space.names),
            "groups": list(space.groups),
            "tokens": list(space.tokens),
            "minimum": [round(float(v), 6) for v in space.minimum],
            "maximum": [round(float(v), 6) for v in space.maximum],
            "mean": [round(float(v), 6) for v in space.mean],
        },
    }


def _manifest_from_json(data: dict[str, Any]) -> Manifest:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
    attributes = data["attributes"]
    space = AttributeSpace(
        names=tuple(attributes["names"]),
        groups=tuple(attributes["groups"]),
        tokens=tuple(attributes["tokens"]),
        minimum=np.asarray(attributes["minimum"], np.float32),
        maximum=np.asarray(attributes["maximum"], np.float32),
        mean=np.asarray(attributes["mean"], np.float32),
    )
    height, width = data["grid"]
    return Manifest(
        name=data["name"],
        network=data["network"],
        input_size=int(data["input"]["size"]),
        embedding_dim=int(data["embedding_dim"]),
        grid=(int(height), int(width)),
        attributes=space,
        temperature=float(data["temperature"]),
        gamma=float(data["gamma"]),
        scores=data["scores"],
        training=data["training"],
        licence=data["licence"],
        int8=data.get("int8", {}),
        calibration=data.get("calibration", {}),
        files=data["files"],
    )
