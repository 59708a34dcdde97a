"""Several processes that train together, started as anyone would start them: by `torchrun`."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import BackendUnavailable, ConfigError
from model.training.history import read_history
from model.training.processes import Together
from tests.together import DROPPING, TRAININGS
from tests.torchrun import ended, one_machine, one_process, printed, two_machines


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed(one_process(tmp_path_factory.mktemp("alone")))


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder_of_two: Path) -> dict[str, Any]:
    return printed(one_machine(folder_of_two))


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed(two_machines(tmp_path_factory.mktemp("machines")))


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("processes", ["two", "machines"])
def test_two_processes_take_the_steps_that_one_takes(
    processes: str, name: str, alone: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(processes)[name]
    # In bf16 the mean of two halves' gradients is rounded otherwise than the gradient of the whole.
    near = 0.01 if TRAININGS[name][0].precision == "bf16" else 1e-5

    assert len(found["losses"]) == len(alone[name]["losses"]) >= 4
    assert found["losses"] == pytest.approx(alone[name]["losses"], rel=near)
    assert found["norms"] == pytest.approx(alone[name]["norms"], rel=10 * near)


def test_each_process_drops_other_units_and_both_mix_the_same_images(two: dict[str, Any]) -> None:
    assert len(set(two["drawn"]["apart"])) == 2
    assert len(set(two["drawn"]["together"])) == 1


def test_no_thread_outlives_a_training_that_could_abort_its_process_while_it_exits(
    two: dict[str, Any], folder_of_two: Path
) -> None:
    found = [json.loads(file.read_text()) for file in folder_of_two.glob("threads of *.json")]

    assert len(found) == 2
    for before, meanwhile, at_exit in found:
        assert before == at_exit == 0
        assert meanwhile > 0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave when one of them dies in the second epoch."""
    folder = tmp_path_factory.mktemp("killed")
    # 3 steps an epoch.
    (machine,) = one_machine(folder, "5")
    code, _, errors = ended(machine)
    assert code != 0
    assert "Signal 9 (SIGKILL) received" in errors
    return folder / DROPPING


def test_after_a_process_was_killed_the_same_command_goes_on_to_the_same_bytes(
    two: dict[str, Any], folder_of_two: Path, killed: Path, tmp_path: Path
) -> None:
    whole = (folder_of_two / DROPPING).read_bytes()
    assert killed.read_bytes() != whole
    shutil.copy(killed, tmp_path)

    printed(one_machine(tmp_path, "1000"))

    assert (tmp_path / DROPPING).read_bytes() == whole


def test_one_process_goes_on_from_the_epoch_that_two_have_finished(
    killed: Path, tmp_path: Path
) -> None:
    shutil.copy(killed, tmp_path)

    printed(one_process(tmp_path, "1000"))

    (finished,) = read_history(killed)
    first, second = read_history(tmp_path / DROPPING)
    assert first == finished
    assert len(second.losses) == len(first.losses) == 3


def test_several_processes_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)

    with pytest.raises(BackendUnavailable, match=r"pip install 'umzero\[distributed\]'"):
        Together()


def test_fewer_gpus_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    with pytest.raises(ConfigError, match="4 processes on a machine with 2 GPUs"):
        Together()


def test_machines_with_different_numbers_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    sizes = {"LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2", "WORLD_SIZE": "3"}
    for name, size in sizes.items():
        monkeypatch.setenv(name, size)

    with pytest.raises(ConfigError, match="is 1 on this one of 2 machines, which makes no 3"):
        Together()
