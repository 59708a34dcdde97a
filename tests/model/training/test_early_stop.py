"""When the training that chooses ends before its last epoch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model.data.read import read
from model.training.config import TrainingConfig
from model.training.features import extract
from model.training.heads import fresh_network
from model.training.history import read_history
from model.training.run import attribute_space
from model.training.selection import Choice, choose, out_of_patience


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


def test_a_choice_that_does_not_improve_stops_and_is_the_same_when_it_is_asked_again(
    shapes_dir: Path, small_config: TrainingConfig, tmp_path: Path
) -> None:
    data = read(shapes_dir)
    # Nothing moves, so no epoch is better than the first.
    mim = replace(small_config.mim, epochs=4, patience=1, learning_rate=0.0, weight_decay=0.0)
    config = replace(small_config, mim=mim)

    def ask() -> tuple[Choice, list[str]]:
        told: list[str] = []
        classes = len(data.seen) - len(data.validation)
        network = fresh_network(config.model, attribute_space(data), classes, config.seed)
        store = extract(network, data.images, tmp_path)
        return choose(network, data, store, config, tmp_path, told.append), told

    choice, told = ask()
    assert choice.epochs == 1
    assert sum(line.startswith("MIM, epoch") for line in told) == 2
    assert len(read_history(tmp_path / "validation.safetensors")) == 2

    again, told = ask()
    assert again == choice
    assert not any(line.startswith("MIM, epoch") for line in told)
