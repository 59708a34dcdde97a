"""A process on each GPU, which `torchrun` started."""

from pathlib import Path

import pytest
import torch

from tests.together import TRAININGS
from tests.torchrun import one_machine, printed

pytestmark = pytest.mark.gpu


def test_processes_on_gpus_take_nearly_the_steps_of_two_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = printed(one_machine(tmp_path, processes=torch.cuda.device_count()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (cpu := tmp_path / "cpu").mkdir()
    expected = printed(one_machine(cpu))

    for name in TRAININGS:
        assert found[name]["losses"] == pytest.approx(expected[name]["losses"], rel=0.05)
