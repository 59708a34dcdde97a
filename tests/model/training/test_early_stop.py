"""When the training that chooses ends before its last epoch."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from model.data.read import read
from model.training import run
from model.training.config import TrainingConfig
from model.training.features import Progress
from model.training.history import read_history
from model.training.selection import LEAST_WEIGHT, out_of_patience
from model.training.training_run import TrainingRun


@pytest.mark.parametrize(
    ("merits", "patience", "expected"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.5], 1, True),  # as good is not better
        ([0.5, 0.4, 0.6], 1, False),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.45], 2, True),
        ([0.5, 0.4, 0.3, 0.2], 0, False),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    merits: Sequence[float], patience: int, expected: bool
) -> None:
    assert out_of_patience(merits, patience) is expected


@contextmanager
def quiet(_: str) -> Iterator[Progress]:
    yield lambda *_: None


def test_a_choice_that_does_not_improve_stops_and_is_the_same_when_it_is_asked_again(
    shapes_dir: Path,
    small_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class ChosenError(Exception):
        """Nothing that follows the choice is of interest."""

    def stop(*_: object) -> None:
        raise ChosenError

    monkeypatch.setattr(run, "_fit", stop)
    # Nothing moves, so no epoch is better than the first.
    mim = replace(small_config.mim, epochs=4, patience=1, learning_rate=0.0, weight_decay=0.0)
    told: list[str] = []
    training = TrainingRun(
        replace(small_config, mim=mim),
        read(shapes_dir),
        tmp_path / "shapes",
        tmp_path / "runs",
        "a test",
        quiet,
        told.append,
    )

    def choose() -> dict[str, float]:
        told.clear()
        with pytest.raises(ChosenError):
            run.train(training)
        choice: dict[str, float] = json.loads((training.folder / "choice.json").read_text())
        return choice

    first = choose()
    assert first["epochs"] == 2  # as good as the first one, and trained for longer
    assert sum(line.startswith("MIM, epoch") for line in told) == 2
    history = read_history(training.folder / "validation.safetensors")
    assert len(history) == 2
    # What can't be taken is not tried either.
    weights = [choice["mim_weight"] for epoch in history for choice in epoch.record]
    assert min(weights) == LEAST_WEIGHT > min(small_config.mim.weights)

    (training.folder / "choice.json").unlink()  # as if killed before it was written
    assert choose() == first
    assert not any(line.startswith("MIM, epoch") for line in told)
