"""Does the exported graph compute what the network computes? On real images, or no bundle."""

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from model.errors import ParityError
from model.export.onnx import EMBED, PROTOTYPES
from model.export.quantize import INT8
from model.nn.umzero import Output, UMZero
from model.runtime.base import F32, U8

TOLERANCE = 1e-4
LOWEST_COSINE = 0.9  # between an image's embeddings from the int8 and the fp32 graph


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences; attributes as fractions of their scale, the CNN's maps as ones
    of their largest value."""

    embedding: float
    attributes: float
    maps: float
    fine: float
    coarse: float
    prototypes: float

    @property
    def worst(self) -> float:
        worst: float = max(astuple(self))
        return worst


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
    names = Output._fields
    scales = (1.0, span, 1.0, *(np.abs(part).max() for part in expected[3:]))
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


def check_int8(folder: Path, images: U8) -> float:
    """Hold the int8 graph in `folder` against the fp32 one beside it.

    Args:
        images: (B, S, S, 3), real ones.

    Returns:
        the lowest cosine between an image's two embeddings.

    Raises:
        ParityError: an output isn't finite, maps don't sum to 1, or that cosine is below
            `LOWEST_COSINE`.
    """
    expected, actual = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"]).run(
            ["embedding", "attributes", "maps"], {"images": images}
        )
        for name in (EMBED, INT8)
    )
    if not all(np.isfinite(part).all() for part in actual):
        raise ParityError(f"{INT8} gives infinite numbers or NaN; export without --int8")
    if (off := _largest(actual[2].sum(axis=(2, 3)) - 1)) > TOLERANCE:
        raise ParityError(f"maps of {INT8} sum to 1 up to {off:g}, expected {TOLERANCE:g}")
    lowest = float((expected[0] * actual[0]).sum(axis=1).min())
    if lowest < LOWEST_COSINE:
        raise ParityError(
            f"an embedding of {INT8} has cosine {lowest:.3f} with that of {EMBED}, expected at "
            f"least {LOWEST_COSINE}; export without --int8"
        )
    return lowest


def _largest(differences: F32) -> float:
    """The largest absolute difference; infinite where one is NaN."""
    return float(np.nan_to_num(np.abs(differences), nan=np.inf, posinf=np.inf).max())
