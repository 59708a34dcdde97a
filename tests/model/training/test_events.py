"""Event files where tensorboard is missing; `test_resume` reads the ones that are written."""

import sys
from pathlib import Path

import pytest

from model.training.events import Events
from model.training.history import Epoch


def test_without_tensorboard_training_says_so_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    told: list[str] = []

    events = Events(tmp_path / "events", told.append)
    for training in ("validation", "final"):
        with events.of(training) as watch:
            watch((Epoch((1.0,), (0.1,), None),))

    assert len(told) == 1
    assert "tensorboard isn't installed" in told[0]
    assert not (tmp_path / "events").exists()
