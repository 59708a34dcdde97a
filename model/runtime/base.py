"""The one interface between serving and a network: `Backend`.

Shapes: B images, S input size, D embedding, A attributes, T attribute tokens, C classes,
(h, w) the grid of the attribute maps.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class BackendInfo:
    """What a backend runs, and where."""

    name: str  # "onnx", "torch", "fake"
    device: str  # "cpu", "cuda:0"
    precision: str  # "fp32", "int8", ...
    bundle: str
    bundle_sha256: str
    input_size: int  # S
    embedding_dim: int  # D, at most 512
    attribute_count: int  # A
    token_count: int  # T
    grid: tuple[int, int]  # (h, w)


class Embedded(NamedTuple):
    """What one pass over images yields."""

    embedding: F32  # (B, D), unit rows
    attributes: F32  # (B, A), on the sheet's scale
    maps: F32  # (B, T, h, w), where each attribute token was read; each map sums to 1
    # Two of the CNN's maps, of which `model.look.foreground` tells where the object is:
    fine: F32  # (B, C, h', w')
    coarse: F32  # (B, C', h", w")


class Backend(Protocol):
    """A loaded network. Every method may be called from several threads at once."""

    @property
    def info(self) -> BackendInfo:
        """Shapes and names; constant for the life of the backend."""
        ...

    def embed(self, images: U8) -> Embedded:
        """Embed upright RGB images of shape (B, S, S, 3)."""
        ...

    def prototypes(self, class_attributes: F32) -> F32:
        """Turn complete sheets (C, A), on the sheet's scale, into unit prototypes (C, D)."""
        ...

    def close(self) -> None:
        """Free what the backend holds. Calling any method afterwards is an error."""
        ...


@runtime_checkable
class SharesThreads(Protocol):
    """What a backend offers besides whose `embed` uses several CPUs."""

    def embed_beside(self, images: U8) -> Embedded:
        """`embed`, while others run beside it: with one lane's share of the threads."""
        ...
