"""What a resumable state keeps of each finished epoch: the one source of events, curves and of the
decision to stop early, so that all of them are the same after a kill."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.training.checkpoint import read_extra


@dataclass(frozen=True)
class Epoch:
    """One epoch; the step is the optimizer's."""

    losses: tuple[float, ...]  # (steps,)
    rates: tuple[float, ...]  # (steps,), learning rates
    record: Any  # JSON, what `after_epoch` of `train_mim` returned

    @property
    def loss(self) -> float:
        """The mean over steps."""
        return sum(self.losses) / len(self.losses)


History = tuple[Epoch, ...]
Watch = Callable[[History], None]  # is told of all epochs so far


def from_json(extra: dict[str, Any] | None) -> History:
    """What a state's `extra` says; None is the start."""
    rows = extra["epochs"] if extra else ()
    return tuple(Epoch(tuple(r["losses"]), tuple(r["rates"]), r["record"]) for r in rows)


def read_history(checkpoint: Path) -> History:
    """The epochs of a state on disk; none where there is no file."""
    return from_json(read_extra(checkpoint))
