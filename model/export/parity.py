"""Does the exported graph compute what the network computes? On real images, or no bundle."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from model.errors import ParityError
from model.export.onnx import EMBED, PROTOTYPES
from model.nn.umzero import UMZero
from model.runtime.base import F32, U8

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences; attributes as fractions of their scale."""

    embedding: float
    attributes: float
    maps: float
    prototypes: float

    @property
    def worst(self) -> float:
        return max(self.embedding, self.attributes, self.maps, self.prototypes)


@torch.inference_mode()
def check(network: UMZero, folder: Path, images: U8, class_attributes: F32) -> Parity:
    """Compare both graphs in `folder` with the network, one image at a time and all together.

    Args:
        images: (B, S, S, 3), real ones. class_attributes: (C, A).

    Raises:
        ParityError: something is off by more than `TOLERANCE`.
    """
    embed = onnxruntime.InferenceSession(folder / EMBED, providers=["CPUExecutionProvider"])
    prototypes = onnxruntime.InferenceSession(
        folder / PROTOTYPES, providers=["CPUExecutionProvider"]
    )
    expected = [part.numpy() for part in network.eval()(torch.from_numpy(images))]
    unit = network.prototype_unit
    span = (unit.maximum - unit.minimum).numpy()
    names, scales = ("embedding", "attributes", "maps"), (1.0, span, 1.0)
    worst = dict.fromkeys(names, 0.0)
    for rows in (slice(None), slice(0, 1), slice(len(images) - 1, None)):
        for i, actual in enumerate(embed.run(None, {"images": images[rows]})):
            gap = _largest((actual - expected[i][rows]) / scales[i])
            worst[names[i]] = max(worst[names[i]], gap)
    (actual,) = prototypes.run(None, {"class_attributes": class_attributes})
    gap = _largest(actual - network.prototypes(torch.from_numpy(class_attributes)).numpy())
    parity = Parity(**worst, prototypes=gap)
    if parity.worst > TOLERANCE:
        raise ParityError(f"ONNX differs from torch by more than {TOLERANCE:g}: {parity}")
    return parity


def _largest(differences: F32) -> float:
    """The largest absolute difference; infinite where one is NaN."""
    return float(np.nan_to_num(np.abs(differences), nan=np.inf, posinf=np.inf).max())
