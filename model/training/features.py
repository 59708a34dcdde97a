"""Cached features of a frozen backbone: extracted once, resumable after a kill at any moment.

A cache is a folder of plain .npy files (memory-mapped) and `progress.json`, which counts finished
rows: pooled features in float32, maps in float16. All photographs come first, then the training
photographs once more, framed. Its name hashes the backbone, which of its maps are read, and the
images' paths, sizes and times, so that a changed image is never read from an old cache.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from model.config import ModelConfig
from model.data import augment
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.errors import ConfigError
from model.nn.backbone import Backbone, fold_batch_norm
from model.nn.umzero import Features, UMZero, stages_read
from model.training.processes import ALONE, Processes

VIEWS = 2  # the photograph, and one in a larger frame (`model.data.augment`)
BATCH = 32
SAVED = 256  # rows between two times that what is done so far is kept

Progress = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Features of N photographs, and of M of them in their second view."""

    pooled: NDArray[np.float32]  # (N + M, C)
    maps: Mapping[str, NDArray[np.float16]]  # {stage: (N + M, C, h, w)}
    second: NDArray[np.int64]  # (N,), the row of a photograph's second view; -1: it has none

    def read(self, images: NDArray[np.int64], view: int = 0) -> Features:
        """Features of some images as float32 tensors."""
        rows = self.rows(images, view)
        return Features(
            torch.from_numpy(np.asarray(self.pooled[rows])),
            {
                stage: torch.from_numpy(np.asarray(maps[rows], np.float32))
                for stage, maps in self.maps.items()
            },
        )

    def read_pooled(self, images: NDArray[np.int64], view: int = 0) -> Tensor:
        """(images, C), without their maps."""
        return torch.from_numpy(np.asarray(self.pooled[self.rows(images, view)]))

    def rows(self, images: NDArray[np.int64], view: int) -> NDArray[np.int64]:
        """Where a view of some images stands."""
        rows = self.second[images] if view else np.asarray(images)
        if (rows < 0).any():
            raise ValueError("only training photographs have a second view")
        return rows


def batches_of_inputs(
    images: Dataset[Tensor], batch: int = BATCH
) -> Iterator[tuple[slice, Tensor]]:
    """Decode images, two batches ahead: (rows, (B, S, S, 3) uint8)."""
    count = len(images)  # type: ignore[arg-type]  # a Dataset needn't have a length; ours do
    rows = [slice(i, min(i + batch, count)) for i in range(0, count, batch)]

    def load(part: slice) -> Tensor:
        return torch.stack([images[i] for i in range(part.start, part.stop)])

    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(load, part) for part in rows[:2]]
        for i, part in enumerate(rows):
            decoded = pending.pop(0).result()
            if i + 2 < len(rows):
                pending.append(pool.submit(load, rows[i + 2]))
            yield part, decoded


def for_inference(network: UMZero) -> UMZero:
    """A copy that computes the same faster, on the CPU."""
    network = copy.deepcopy(network).eval()
    network.backbone = cast(Backbone, fold_batch_norm(network.backbone))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def cache_key(config: ModelConfig, data: ZeroShotData) -> str:
    """Changes with the backbone, the maps that are read, the views, and any image."""
    digest = hashlib.sha256(json.dumps(config.to_json()["backbone"]).encode())
    stages = sorted(stages_read(config))
    views = (augment.SHARES, augment.BACKGROUNDS, augment.KEPT, augment.SEED)
    digest.update(repr((stages, *views)).encode())
    digest.update(data.train.tobytes())
    for path in data.images:
        status = path.stat()
        line = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


@torch.inference_mode()
def extract(
    network: UMZero,
    data: ZeroShotData,
    cache: Path,
    progress: Progress = lambda *_: None,
    processes: Processes = ALONE,
) -> FeatureStore:
    """Features of all photographs, and of the training photographs' second view, from the cache
    where it has them; of several processes each computes a batch in turn.

    Raises:
        ConfigError: the cache has lost a file.
        DatasetError: an image can't be read.
    """
    folder = cache / f"features-{cache_key(network.config, data)}"
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "progress.json"
    done = processes.from_main(
        lambda: int(json.loads(state.read_text())["rows"]) if state.is_file() else 0
    )
    size, count = network.config.backbone.input_size, len(data.images) + len(data.train)

    network = for_inference(network).to(processes.device)

    def computed(images: Tensor) -> dict[str, Tensor]:
        """As the files have it."""
        features = network.features(images.to(processes.device))
        return {
            "pooled": features.pooled,
            **{stage: maps.half() for stage, maps in features.maps.items()},
        }

    example = computed(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    files = {name: folder / f"{name}.npy" for name in example}

    def make_files() -> None:
        for name, path in files.items():
            if done and not path.is_file():
                raise ConfigError(
                    f"{path} is missing, and {state} says that {done} of its "
                    f"rows were computed; delete {folder}, and all are computed again"
                )
            row = example[name][0].cpu().numpy()
            _make(path, (count, *row.shape), row.dtype)

    processes.from_main(make_files)
    arrays = {name: np.lib.format.open_memmap(path, mode="r+") for name, path in files.items()}
    framed = augment.Framed([data.images[i] for i in data.train], size, data)
    views: ConcatDataset[Tensor] = ConcatDataset([ImageDataset(data.images, size), framed])
    at_once = BATCH * processes.count
    blocks = [slice(i, min(i + at_once, count)) for i in range(done, count, at_once)]
    shares = [processes.share(torch.arange(rows.start, rows.stop)).tolist() for rows in blocks]
    own = Subset(views, [row for share in shares for row in share])
    progress(done, count)
    for rows, (_, images) in zip(blocks, batches_of_inputs(own), strict=True):
        for name, values in computed(images).items():
            gathered = processes.gather(values, rows.stop - rows.start)
            if processes.is_main:
                arrays[name][rows] = gathered.cpu().numpy()
        if processes.is_main and (rows.stop == count or rows.start // SAVED != rows.stop // SAVED):
            for array in arrays.values():
                array.flush()
            _write_atomically(state, json.dumps({"rows": rows.stop}))
        progress(rows.stop, count)
    processes.wait()
    second = np.full(len(data.images), -1)
    second[data.train] = len(data.images) + np.arange(len(data.train))
    return FeatureStore(arrays.pop("pooled"), arrays, second)


def _make(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not path.is_file():
        # A file that a kill left half made must not be taken for a cache.
        new = path.with_suffix(".new")
        np.lib.format.open_memmap(new, mode="w+", dtype=dtype, shape=shape).flush()
        new.replace(path)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)
