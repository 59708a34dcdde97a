"""MIM's training on drawn maps; the main process prints what came of it.

python -m tests.together FOLDER               one process
torchrun ... -m tests.together FOLDER         several
torchrun ... -m tests.together FOLDER STEP    the last of them kills itself in that step
"""

import atexit
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.training.config import MIMTrainingConfig
from model.training.history import read_history
from model.training.loop import train_mim
from model.training.processes import Processes, launched
from tests.dying import arm
from tests.maps import problem

EPOCHS = 2
PLAIN = MIMTrainingConfig(epochs=EPOCHS, batch_size=32)
# Name -> how, and of how many images; with mixup and the contrastive loss, whose terms are between
# the images of a batch.
TRAININGS = {
    "plain": (PLAIN, 96),
    "no process gets the same number of images": (replace(PLAIN, batch_size=13), 50),
    "accumulated": (replace(PLAIN, batch_size=10, accumulate=3), 65),
    "bf16": (replace(PLAIN, precision="bf16"), 96),
}
DROPPING = "dropping.safetensors"


def train(
    config: MIMTrainingConfig, images: int, dropout: float, state: Path, processes: Processes
) -> dict[str, list[float]]:
    """Each step's loss, and the norm of its gradient, which AdamW's step doesn't depend on."""
    norms: list[float] = []
    real_clip = torch.nn.utils.clip_grad_norm_

    def clip(*args: Any) -> torch.Tensor:
        norms.append(real_clip(*args).item())
        return torch.tensor(norms[-1])

    torch.nn.utils.clip_grad_norm_ = clip
    # The main process's record counts, whatever the others say.
    records = train_mim(
        *problem(images, dropout).arguments(),
        config,
        EPOCHS,
        0,
        state,
        lambda epoch, _: [epoch, processes.is_main],
        processes=processes,
    )
    torch.nn.utils.clip_grad_norm_ = real_clip
    assert records == [[epoch + 1, True] for epoch in range(EPOCHS)]
    return {
        "losses": [loss for epoch in read_history(state) for loss in epoch.losses],
        "norms": norms,
    }


def drawn(processes: Processes) -> dict[str, list[float]]:
    """What each process draws, apart and with the others."""
    processes.seed(0)
    with processes.own_randomness():
        apart = torch.rand(1)
    found = {"apart": apart, "together": torch.rand(1)}
    return {name: processes.gather(row, processes.count).tolist() for name, row in found.items()}


def gloos_threads() -> int:
    found = 0
    for name in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has ended
            found += "gloo" in name.read_text()
    return found


def main(folder: Path, step: str = "never") -> None:
    torch.set_num_threads(1)
    threads = [gloos_threads()]

    @atexit.register
    def tell() -> None:
        end = time.monotonic() + 10
        while gloos_threads() and time.monotonic() < end:
            time.sleep(0.01)  # one that was waited for may show for a moment
        threads.append(gloos_threads())
        (folder / f"threads of {os.getpid()}.json").write_text(json.dumps(threads))

    processes = launched()
    found: dict[str, Any] = {}
    if step == "never":
        for name, (config, images) in TRAININGS.items():
            state = folder / f"{name}.safetensors"
            found[name] = train(config, images, 0.0, state, processes)
        found["drawn"] = drawn(processes)
    elif processes.share(torch.arange(processes.count)).item() == processes.count - 1:
        arm(step)
    train(PLAIN, 96, 0.1, folder / DROPPING, processes)
    threads.append(gloos_threads())
    if processes.is_main:
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
