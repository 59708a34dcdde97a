"""What the heads cost: UMZero's whole network beside its backbone alone, in ONNX Runtime.

    python bench/network.py [--bundle weights/birds] [--seconds 5]

Both graphs are exported from the bundle's weights by the same code, and run in turn, one image at
a time, with the same number of threads. The ratios are medians over the turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from model import bundle as bundles
from model.export.onnx import EMBED, export, write_graph
from model.nn.backbone import fold_batch_norm
from model.runtime.onnx_backend import session_options
from model.runtime.torch_backend import load_network

TURN = 20  # runs of one graph before the other's turn


class Backbone(nn.Module):
    """(B, S, S, 3) uint8 -> the maps that the heads read."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images.permute(0, 3, 1, 2).float()))


def milliseconds(session: Any, images: np.ndarray) -> float:
    """Of one run."""
    started = time.perf_counter()
    for _ in range(TURN):
        session.run(None, {"images": images})
    return (time.perf_counter() - started) / TURN * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="weights/birds")
    parser.add_argument("--seconds", type=float, default=5, help="for each number of threads")
    given = parser.parse_args()
    network = load_network(bundles.read(given.bundle))
    size = network.config.backbone.input_size
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(network, folder)
        backbone = Backbone(fold_batch_norm(network.backbone))
        names = tuple(f"map_{i}" for i in range(len(network.config.backbone.stages)))
        example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        write_graph(backbone, example, folder / "backbone.onnx", "images", names)
        print("threads   backbone      whole   ratio (median; quartiles)")
        for threads in (1, 2):
            alone, whole = (
                onnxruntime.InferenceSession(
                    folder / graph, session_options(threads), providers=["CPUExecutionProvider"]
                )
                for graph in ("backbone.onnx", EMBED)
            )
            pairs = []
            started = time.perf_counter()
            while time.perf_counter() - started < given.seconds:
                pairs.append((milliseconds(alone, images), milliseconds(whole, images)))
            low, middle, high = statistics.quantiles([b / a for a, b in pairs[1:]], n=4)
            first, second = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
            print(
                f"{threads:7} {first:7.2f} ms {second:7.2f} ms   "
                f"{middle:.3f} ({low:.3f} to {high:.3f})"
            )


if __name__ == "__main__":
    main()
