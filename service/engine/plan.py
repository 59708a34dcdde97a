"""How many batches run at the same time, with how many threads, and how large they get: measured.

On a CPU a lone request is fastest on all cores, while under load one core for each inference
wastes least; on a GPU batches are everything. A backend is tried for a second or so.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf

import numpy as np

from model.runtime.base import Backend, SharesThreads

# A batch of this size must take no longer than this, or requests wait for their neighbours.
LONGEST_BATCH_S = 0.5
# Other plans than the first are worth their risk only if they answer more images by this factor.
WORTH = 1.1
# Larger batches save changes of threads, which a backend on its own doesn't show: the largest size
# is taken that is no slower than the best by more than this factor, which is noise.
NOISE = 1.03
TURN_S = 0.06  # one measurement; the best of them counts, for neighbours only slow one down
TURNS = 3
BATCHES = {"cpu": (1, 2, 4, 8), "cuda": (1, 4, 16, 64)}


@dataclass(frozen=True)
class Plan:
    """What the engine runs with."""

    lanes: int  # batches at the same time
    threads: int  # of an inference that runs alone; those side by side share them
    max_batch: int  # images


@dataclass(frozen=True)
class Asked:
    """What the settings fix; 0 leaves it to the measurement."""

    lanes: int = 0
    threads: int = 0
    max_batch: int = 0


@dataclass(frozen=True)
class Measured:
    """A plan, its backend, and images a second: one at a time, and with all lanes busy."""

    plan: Plan
    backend: Backend
    alone: float
    together: float

    @property
    def merit(self) -> float:
        return self.alone * self.together


def candidates(asked: Asked, cpus: int, device: str) -> list[tuple[int, int]]:
    """(lanes, threads) worth a try, the usual one first.

    Never a single lane by choice, but on one CPU: while one batch is handed over another runs,
    which a backend on its own doesn't show.
    """
    two = min(2, cpus) if device == "cpu" else 2
    usual = [(two, cpus)]
    if device == "cpu":
        usual += [(cpus, cpus)]
    wanted = [(asked.lanes or lanes, asked.threads or threads) for lanes, threads in usual]
    return list(dict.fromkeys(wanted))


def choose(
    open_backend: Callable[[int, int], Backend], asked: Asked, cpus: int, device: str
) -> Measured:
    """Try the candidates, keep the best one's backend open and close the others'.

    Args:
        open_backend: (lanes, threads) -> a backend that runs so.
        cpus: that may be kept busy.
        device: "cpu", or a GPU.
    """
    sizes = (asked.max_batch,) if asked.max_batch else BATCHES[device.partition(":")[0]]
    best: Measured | None = None
    for lanes, threads in candidates(asked, cpus, device):
        backend = open_backend(lanes, threads)
        tried = measure(backend, lanes, threads, sizes)
        if best is not None and tried.merit <= best.merit * WORTH:
            backend.close()
            continue
        if best is not None:
            best.backend.close()
        best = tried
    assert best is not None
    return best


def measure(backend: Backend, lanes: int, threads: int, sizes: Sequence[int]) -> Measured:
    """Run a backend alone and in all lanes, with batches of each of the ascending `sizes`."""
    alone = rate(backend, 1, 1)
    rates: dict[int, float] = {}
    for size in sizes:
        # The next size takes longer still.
        if rates and lanes * size / max(rates.values()) > LONGEST_BATCH_S:
            break
        rates[size] = rate(backend, lanes, size)
    best = max(rates.values())
    size = max(size for size, found in rates.items() if found * NOISE >= best)
    return Measured(Plan(lanes, threads, size), backend, alone, rates[size])


def rate(backend: Backend, callers: int, size: int) -> float:
    """Images a second that so many callers at once get, each with batches of `size`."""
    side = backend.info.input_size
    embed = backend.embed
    if callers > 1 and isinstance(backend, SharesThreads):
        embed = backend.embed_beside
    images = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)

    def call(_: int) -> float:
        done, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < TURN_S or not done:
            embed(images)
            done += size
        return done / passed if passed else inf

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(lambda _: embed(images), range(callers)))  # the first one allocates
        return max(sum(pool.map(call, range(callers))) for _ in range(TURNS))
