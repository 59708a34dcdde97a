"""A process on each GPU, which `torchrun` started."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from model import bundle as bundles
from tests.together import TRAININGS
from tests.torchrun import TORCHRUN, one_machine, printed

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpus() -> int:
    found = torch.cuda.device_count()
    if found < 2:
        pytest.skip("needs two CUDA devices")
    return found


def test_processes_on_gpus_take_nearly_the_steps_of_two_on_the_cpu(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = printed(one_machine(tmp_path, processes=gpus))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (cpu := tmp_path / "cpu").mkdir()
    expected = printed(one_machine(cpu))

    for name, (config, _) in TRAININGS.items():
        near = 0.05 if config.precision == "bf16" else 0.01
        assert found[name]["losses"] == pytest.approx(expected[name]["losses"], rel=near)
        assert found[name]["norms"] == pytest.approx(expected[name]["norms"], rel=2 * near)
    assert len(set(found["drawn"]["apart"])) == gpus
    assert len(set(found["drawn"]["together"])) == 1


def test_they_train_a_bundle_from_photographs(gpus: int, shapes_dir: Path, tmp_path: Path) -> None:
    torchrun = [*TORCHRUN, "--standalone", "--nproc-per-node", str(gpus), "-m", "umzero.cli"]
    words = ["train", "folder", "--data", str(shapes_dir), "--out", "weights/shapes", "--json"]

    result = subprocess.run(
        [*torchrun, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert f"processes: {gpus}, this one on cuda:0" in result.stderr
    told = json.loads(result.stdout)
    bundle = bundles.read(tmp_path / "weights/shapes")
    assert (told["sha256"], told["scores"]) == (bundle.sha256, bundle.manifest.scores)
