"""TensorBoard's event files: `tensorboard --logdir runs` shows loss, learning rate and validation
scores of every training below it, over the steps of the optimizer."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.training.history import Epoch, History, Watch
from model.training.selection import best_of


class Events:
    """Where a run's trainings write their events.

    The file of a training is a copy of its resumable state, written anew by the process that goes
    on: whatever a killed one had written, or had not, no step is missing and none is there twice.

    Args:
        folder: gets a folder for each training.
        report: is told, once, when tensorboard isn't installed; then nothing is written.
        is_main: whether this is the process that writes.
    """

    def __init__(self, folder: Path, report: Callable[[str], None], is_main: bool = True) -> None:
        self.folder = folder
        self._writer: Callable[[str], Any] | None = None
        if not is_main:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - may be missing
        except ImportError:
            report("no TensorBoard events: tensorboard isn't installed (it is in umzero[train])")
        else:
            self._writer = SummaryWriter

    @contextmanager
    def of(self, training: str) -> Iterator[Watch]:
        """What `train_mim` tells of its epochs, for one training."""
        if self._writer is None:
            yield lambda _: None
            return
        folder = self.folder / training
        shutil.rmtree(folder, ignore_errors=True)
        writer = self._writer(str(folder))
        written = step = 0

        def watch(history: History) -> None:
            nonlocal written, step
            for epoch in history[written:]:
                _write(writer, epoch, step)
                step += len(epoch.losses)
            written = len(history)
            writer.flush()

        try:
            yield watch
        finally:
            writer.close()


def _write(writer: Any, epoch: Epoch, before: int) -> None:
    for step, (loss, rate) in enumerate(zip(epoch.losses, epoch.rates, strict=True), before + 1):
        writer.add_scalar("loss", loss, step)
        writer.add_scalar("learning_rate", rate, step)
    if epoch.record:
        best, last = best_of(epoch.record), before + len(epoch.losses)
        writer.add_scalar("validation/czsl", best.czsl, last)
        writer.add_scalar("validation/h", best.h, last)
