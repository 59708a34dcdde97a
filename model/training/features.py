"""Cached features of a frozen backbone: extracted once, resumable after a kill at any moment.

A cache is a folder of plain .npy files (memory-mapped) and `progress.json`, which counts finished
rows: pooled features in float32, maps in float16. Its name hashes the backbone and the images'
paths, sizes and times, so that a changed image is never read from an old cache.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import ModelConfig
from model.data.dataset import ImageDataset
from model.nn.umzero import Features, UMZero

VIEWS = 2  # the photo, and its mirror image
BATCH = 32

Progress = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Features of N images in `VIEWS` views."""

    pooled: NDArray[np.float32]  # (views, N, C)
    maps: Mapping[str, NDArray[np.float16]]  # {stage: (views, N, C, h, w)}

    def read(self, images: NDArray[np.int64], view: int = 0) -> Features:
        """Features of some images as float32 tensors."""
        return Features(
            torch.from_numpy(np.asarray(self.pooled[view, images])),
            {
                stage: torch.from_numpy(np.asarray(maps[view, images], np.float32))
                for stage, maps in self.maps.items()
            },
        )


def batches_of_inputs(
    paths: tuple[Path, ...], size: int, batch: int = BATCH
) -> Iterator[tuple[slice, Tensor]]:
    """Decode images, two batches ahead: (rows, (B, S, S, 3) uint8)."""
    dataset = ImageDataset(paths, size)
    rows = [slice(i, min(i + batch, len(paths))) for i in range(0, len(paths), batch)]

    def load(part: slice) -> Tensor:
        return torch.stack([dataset[i] for i in range(part.start, part.stop)])

    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(load, part) for part in rows[:2]]
        for i, part in enumerate(rows):
            images = pending.pop(0).result()
            if i + 2 < len(rows):
                pending.append(pool.submit(load, rows[i + 2]))
            yield part, images


def cache_key(config: ModelConfig, paths: tuple[Path, ...]) -> str:
    """Changes with the backbone, the maps that are read, and any image."""
    digest = hashlib.sha256(json.dumps(config.to_json()["backbone"]).encode())
    digest.update(repr((config.hga.stages, config.mim.stages, VIEWS)).encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def extract(
    network: UMZero, paths: tuple[Path, ...], cache: Path, progress: Progress = lambda *_: None
) -> FeatureStore:
    """Features of all images, from the cache where it has them."""
    folder = cache / f"features-{cache_key(network.config, paths)}"
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "progress.json"
    done = int(json.loads(state.read_text())["rows"]) if state.is_file() else 0
    size, count = network.config.backbone.input_size, len(paths)

    network.eval()
    blank = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    example = network.features(blank)
    pooled = _open(folder / "pooled.npy", (VIEWS, count, example.pooled.shape[1]), np.float32)
    maps = {
        stage: _open(folder / f"{stage}.npy", (VIEWS, count, *m.shape[1:]), np.float16)
        for stage, m in example.maps.items()
    }
    progress(done, count)
    for part, images in batches_of_inputs(paths[done:], size):
        rows = slice(part.start + done, part.stop + done)
        for view, pixels in enumerate((images, images.flip(2))):
            features = network.features(pixels)
            pooled[view, rows] = features.pooled.numpy()
            for stage, values in features.maps.items():
                maps[stage][view, rows] = values.numpy()
        for array in (pooled, *maps.values()):
            array.flush()
        _write_atomically(state, json.dumps({"rows": rows.stop}))
        progress(rows.stop, count)
    return FeatureStore(pooled, maps)


def _open(
    path: Path, shape: tuple[int, ...], dtype: type
) -> "np.memmap[tuple[int, ...], np.dtype]":
    if path.is_file():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)
