"""MIM's training: what accumulation, precision and stopping change, and what they leave alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.errors import ConfigError
from model.training.config import MIMTrainingConfig
from model.training.history import read_history
from model.training.loop import train_mim
from tests.maps import problem

PLAIN = MIMTrainingConfig(epochs=2, batch_size=64, mixup=0, contrastive_weight=0)


def losses(config: MIMTrainingConfig, path: Path, images: int = 192) -> list[float]:
    """Each step's, of a network without dropout."""
    train_mim(*problem(images, dropout=0).arguments(), config, config.epochs, 0, path)
    return [loss for epoch in read_history(path) for loss in epoch.losses]


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_two_batches_of_32_accumulated_train_as_one_of_64(tmp_path: Path, mixup: float) -> None:
    whole = replace(PLAIN, mixup=mixup)
    halves = replace(whole, batch_size=32, accumulate=2)
    at_once = losses(whole, tmp_path / "whole.safetensors")
    in_parts = losses(halves, tmp_path / "halves.safetensors")

    assert len(at_once) == 2 * 3
    assert in_parts == pytest.approx(at_once, rel=1e-4)
    network = problem(1).network.mim
    assert network is not None
    start = dict(network.named_parameters())

    def in_a_row(parameters: Mapping[str, Tensor], prefix: str = "network/") -> Tensor:
        return torch.cat([parameters[prefix + name].flatten() for name in start])

    expected, found = (
        in_a_row(load_file(tmp_path / f"{name}.safetensors")) for name in ("whole", "halves")
    )
    assert (found - expected).norm() <= 0.01 * (expected - in_a_row(start, "")).norm()


def test_parts_of_unequal_size_weigh_as_many_images_as_they_have(tmp_path: Path) -> None:
    # 50 images are fewer than 4 x 64: one step an epoch, of 13, 13, 12 and 12 images.
    in_parts = losses(replace(PLAIN, accumulate=4), tmp_path / "parts.safetensors", images=50)
    at_once = losses(PLAIN, tmp_path / "whole.safetensors", images=50)
    assert in_parts == pytest.approx(at_once, rel=1e-4)


def test_bf16_trains_nearly_as_fp32_and_keeps_its_state_in_fp32(tmp_path: Path) -> None:
    path = tmp_path / "bf16.safetensors"
    exact = losses(PLAIN, tmp_path / "fp32.safetensors")
    rough = losses(replace(PLAIN, precision="bf16"), path)

    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.05)
    assert rough[-1] < rough[0]
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_seed_gives_the_same_bytes_twice_and_another_seed_others(
    tmp_path: Path, precision: str
) -> None:
    config = MIMTrainingConfig(epochs=1, batch_size=16, precision=precision)
    written = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{number}.safetensors"
        train_mim(*problem(64).arguments(), config, 1, seed, path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_a_training_that_stopped_early_does_not_go_on_when_it_is_resumed(tmp_path: Path) -> None:
    told: list[int] = []

    def after_epoch(epoch: int, _: float) -> int:
        told.append(epoch)
        return epoch

    def stop(records: list[Any]) -> bool:
        return records == [1, 2]

    for _ in range(2):
        records = train_mim(
            *problem(32).arguments(),
            replace(PLAIN, epochs=5, batch_size=16),
            5,
            0,
            tmp_path / "state.safetensors",
            after_epoch,
            stop,
        )
        assert records == [1, 2]
    assert told == [1, 2]


@pytest.mark.parametrize(
    "wrong", [{"precision": "fp8"}, {"accumulate": 0}, {"patience": -1}], ids=str
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MIMTrainingConfig(**wrong)
