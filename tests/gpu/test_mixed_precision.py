"""MIM's training in bf16, on CUDA."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.training.config import MIMTrainingConfig
from model.training.history import read_history
from model.training.loop import train_mim
from tests.maps import problem

pytestmark = pytest.mark.gpu


def test_bf16_on_cuda_trains_nearly_as_fp32_on_the_cpu(tmp_path: Path) -> None:
    config = MIMTrainingConfig(epochs=2, batch_size=32, mixup=0)
    losses = []
    for device, precision in (("cpu", "fp32"), ("cuda", "bf16")):
        path = tmp_path / f"{device}.safetensors"
        train_mim(
            *problem(128, dropout=0, device=device).arguments(),
            replace(config, precision=precision),
            config.epochs,
            0,
            path,
        )
        losses.append([loss for epoch in read_history(path) for loss in epoch.losses])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
