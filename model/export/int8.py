"""The int8 graph of a bundle, from calibration to the figures that stand in its manifest."""

from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import Bundle
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.errors import DatasetError
from model.export.onnx import EMBED
from model.export.parity import check_int8
from model.export.precision import compare
from model.export.quantize import INT8, quantise
from model.runtime.base import U8
from model.training.evaluate import mismatches
from model.training.features import Progress
from model.training.selection import validation_task

CALIBRATION_IMAGES = 100


def write_int8(
    bundle: Bundle,
    data: ZeroShotData,
    folder: Path,
    parity_images: U8,
    command: str,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Quantise `folder`'s embed.onnx beside it, check it and score it.

    Args:
        data: what the bundle was trained on (`check_data`); no test image is read.
        parity_images: (B, S, S, 3), real ones.
        command: what repeats all this, for the manifest.

    Returns:
        `Manifest.int8`.

    Raises:
        ParityError: the int8 graph is too far from the fp32 graph.
        WeightsError: the manifest doesn't say what training chose.
    """
    images = calibration_images(data, bundle.manifest.input_size)
    quantise(folder / EMBED, folder / INT8, images)
    check_int8(folder, parity_images)
    comparison = compare(bundle, data, folder, progress)
    return {
        "validation": comparison.to_json(),
        "calibration_images": len(images),
        "command": command,
    }


def calibration_images(data: ZeroShotData, size: int) -> U8:
    """(N, S, S, 3), N at most `CALIBRATION_IMAGES`: training photographs that no score is taken
    on, spread over their classes."""
    task = validation_task(data)
    images = task.data.train[np.isin(data.labels[task.data.train], task.trained)]
    images = images[np.argsort(data.labels[images], kind="stable")]
    count = min(CALIBRATION_IMAGES, len(images))
    chosen = images[np.linspace(0, len(images) - 1, count).astype(int)]
    dataset = ImageDataset([data.images[i] for i in chosen], size)
    return np.stack([dataset[i].numpy() for i in range(len(dataset))])


def check_data(bundle: Bundle, data: ZeroShotData) -> None:
    """
    Raises:
        DatasetError: the data isn't what the bundle was trained on, or names no validation classes.
    """
    problems = mismatches(bundle, data)
    if len(data.validation) < 2 or len(data.seen) - len(data.validation) < 3:
        problems.append(
            f"{len(data.validation)} of its {len(data.seen)} seen classes are validation classes; "
            "expected at least 2, and 3 others"
        )
    if problems:
        raise DatasetError(
            f"{data.name} can't show what int8 costs the bundle {bundle.name}; "
            "give the data it was trained on",
            tuple(problems),
        )
