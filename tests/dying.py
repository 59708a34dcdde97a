"""`python -m tests.dying FOLDER MOMENT...`: one training, in one process after the other, each of
which kills itself at its moment; prints how each of them ended, and how many epochs were saved.

A moment is a number, the step in which SIGKILL comes; "saving", between the writing of a state and
its renaming; or "never". Each process goes on from what the one before left in FOLDER.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from model.training import checkpoint, loop
from model.training.config import MIMTrainingConfig
from model.training.events import Events
from model.training.history import read_history
from tests.maps import problem

EPOCHS, IMAGES, BATCH = 3, 40, 8
CONFIG = MIMTrainingConfig(epochs=EPOCHS, batch_size=BATCH)
SCORES = {"image_ridge": 1.0, "class_ridge": 1.0, "gamma": 0.0, "temperature": 0.1}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Make this process die at its moment."""
    if moment == "saving":
        real_save = checkpoint.save_file

        def save_and_die(*args: Any, **kwargs: Any) -> None:
            real_save(*args, **kwargs)
            die()

        checkpoint.save_file = save_and_die
    elif moment != "never":
        real_step, steps = torch.optim.AdamW.step, 0

        def step_or_die(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == int(moment):
                die()
            return real_step(self, *args, **kwargs)

        torch.optim.AdamW.step = step_or_die  # type: ignore[method-assign]


def train(folder: Path) -> None:
    with Events(folder / "events", print).of("training") as watch:
        loop.train_mim(
            *problem(IMAGES).arguments(),
            CONFIG,
            EPOCHS,
            5,
            folder / "state.safetensors",
            lambda epoch, _: [{**SCORES, "czsl": epoch / 10, "h": epoch / 20}],
            watch=watch,
        )


def main(folder: Path, moments: list[str]) -> list[list[int]]:
    # A pool of threads doesn't live through a fork: with one thread there is none.
    torch.set_num_threads(1)
    found = []
    for moment in moments:
        process = os.fork()
        if not process:
            arm(moment)
            train(folder)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        found.append([status, len(read_history(folder / "state.safetensors"))])
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
