"""SIGKILL in the middle of a training, in processes of its own, and what is there afterwards."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training.history import History, read_history
from tests.dying import BATCH, CONFIG, EPOCHS, IMAGES

REPOSITORY = Path(__file__).resolve().parents[3]
STEPS = IMAGES // BATCH  # of an epoch


def run(folder: Path, *moments: str) -> list[list[int]]:
    """How each process ended, and the epochs that were saved by then."""
    command = [sys.executable, "-m", "tests.dying", str(folder), *moments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[int]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, "never") == [[0, EPOCHS]]
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was killed three times: while it saved its first epoch, in the
    middle of the second and in the first step of the third."""
    folder = tmp_path_factory.mktemp("killed")
    dead = -signal.SIGKILL
    assert run(folder, "saving", str(STEPS + 3), str(STEPS + 1), "never") == [
        [dead, 0],
        [dead, 1],
        [dead, 2],
        [0, EPOCHS],
    ]
    return folder


def test_a_training_that_is_killed_in_the_middle_of_an_epoch_ends_with_the_same_bytes(
    killed: Path, whole: Path
) -> None:
    name = "state.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("folder", ["whole", "killed"])
def test_the_event_file_has_every_step_once(folder: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(folder)
    history: History = read_history(path / "state.safetensors")
    (file,) = (path / "events/training").iterdir()
    events = EventAccumulator(str(file), {"scalars": 0})
    events.Reload()

    assert set(events.Tags()["scalars"]) == {
        "loss",
        "learning_rate",
        "validation/czsl",
        "validation/h",
    }
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == list(range(1, EPOCHS * STEPS + 1))
    kept = [loss for epoch in history for loss in epoch.losses]
    assert [event.value for event in losses] == pytest.approx(kept, rel=1e-6)
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert max(rates) == pytest.approx(CONFIG.learning_rate)
    assert rates[-1] < rates[len(rates) // 2] < max(rates)
    validation = [(e.step, e.value) for e in events.Scalars("validation/czsl")]
    assert validation == [
        (STEPS * epoch, pytest.approx(epoch / 10)) for epoch in range(1, EPOCHS + 1)
    ]
