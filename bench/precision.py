"""What int8 saves: a bundle's embed.int8.onnx beside its embed.onnx, in ONNX Runtime.

    python bench/precision.py [--bundle weights/birds] [--seconds 10]

Both graphs run in one process, in turn, on the same images and with the same number of threads, as
the service's backend sets them. The speed-ups are medians over the turns, with quartiles.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from model import bundle as bundles
from model.runtime.onnx_backend import GRAPHS, session_options

TURN = 16  # images of one graph before the other's turn


def milliseconds(session: Any, images: np.ndarray) -> float:
    """An image."""
    runs = TURN // len(images)
    started = time.perf_counter()
    for _ in range(runs):
        session.run(None, {"images": images})
    return (time.perf_counter() - started) / (runs * len(images)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("weights/birds"))
    parser.add_argument("--seconds", type=float, default=10, help="for each line")
    given = parser.parse_args()
    bundle = bundles.read(given.bundle)
    if GRAPHS["int8"] not in bundle.manifest.files:
        parser.error(f"{given.bundle} has no {GRAPHS['int8']}: run `umzero export --int8`")
    size = bundle.manifest.input_size
    rng = np.random.default_rng(0)
    print("threads  batch  fp32 ms/image  int8 ms/image   speed-up (median; quartiles)")
    for threads in (1, 2):
        fp32, int8 = (
            onnxruntime.InferenceSession(
                bundle.path / GRAPHS[precision],
                session_options(threads),
                providers=["CPUExecutionProvider"],
            )
            for precision in ("fp32", "int8")
        )
        for batch in (1, 8):
            images = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
            pairs = []
            started = time.perf_counter()
            while time.perf_counter() - started < given.seconds or len(pairs) < 4:
                pairs.append((milliseconds(fp32, images), milliseconds(int8, images)))
            pairs = pairs[1:]  # The first turn allocates.
            low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
            before, after = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"{threads:7} {batch:6} {before:14.2f} {after:14.2f}   "
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
