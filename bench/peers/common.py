"""What every peer does with an image: UMZero's own decoding and network, and the same five classes.

B images, S input size. The variables BENCH_WORKERS, BENCH_THREADS, BENCH_BATCH and BENCH_WAIT_MS
overrule what a peer chose for itself, so that other choices can be measured.
"""

import os
from typing import Any

import numpy as np

from model import bundle as bundles
from model import scoring
from model.errors import ImageError
from model.preprocess import to_input
from model.runtime.base import U8
from model.runtime.load import load

__all__ = ["CPUS", "PORT", "QUEUE", "ImageError", "Model", "chosen"]

PORT = int(os.environ.get("BENCH_PORT", "8000"))
CPUS = len(os.sched_getaffinity(0))
QUEUE = 64  # requests at work or waiting, where a peer can bound them
_TOP_K = 5
_MAX_PIXELS = 50_000_000


def chosen(name: str, value: int) -> int:
    """The peer's own choice, unless a variable says otherwise."""
    return int(os.environ.get(f"BENCH_{name}", value))


class Model:
    """The bundle with its own classes; every method may be called from several threads."""

    def __init__(self, threads: int) -> None:
        self._bundle = bundles.read(os.environ.get("BENCH_BUNDLE", "weights/birds"))
        self._backend = load(self._bundle, "cpu", "auto", threads)
        sheets = np.array([item.attributes for item in self._bundle.classes], np.float32)
        self._prototypes = self._backend.prototypes(sheets)  # (C, D)

    def decode(self, data: bytes) -> U8:
        """A JPEG -> (S, S, 3).

        Raises:
            ImageError: the client's fault; a 4xx.
        """
        return to_input(data, self._bundle.manifest.input_size, _MAX_PIXELS)

    def rank(self, images: list[U8]) -> list[dict[str, Any]]:
        """B of (S, S, 3) -> B answers, each the five best classes."""
        manifest = self._bundle.manifest
        embedding = self._backend.embed(np.stack(images)).embedding
        logits = scoring.cosine_logits(embedding, self._prototypes, manifest.temperature)
        return [self._answer(row) for row in logits]

    def classify(self, data: bytes) -> dict[str, Any]:
        """One JPEG, without batching."""
        return self.rank([self.decode(data)])[0]

    def _answer(self, logits: Any) -> dict[str, Any]:
        probabilities = scoring.softmax(logits)
        predictions = []
        for index in scoring.top_k(logits, _TOP_K):
            item = self._bundle.classes[index]
            predictions.append(
                {
                    "class_id": item.class_id,
                    "name": item.name,
                    "score": float(logits[index]),
                    "probability": float(probabilities[index]),
                    "seen": True,
                }
            )
        return {"predictions": predictions}
