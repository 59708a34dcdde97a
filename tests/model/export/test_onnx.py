"""The graphs of networks with and without parts, against torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.export.onnx import EMBED, export
from model.export.parity import check
from model.nn.umzero import AttributeLayout, UMZero
from tests.networks import CONFIG, settle

LAYOUT = AttributeLayout((0, 0, 1, 2), torch.zeros(4), torch.full((4,), 100.0))


@pytest.mark.parametrize("without", [None, "hga", "mim"])
def test_any_batch_gives_what_torch_gives(without: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = CONFIG
    if without:
        config = replace(config, **{without: replace(getattr(config, without), enabled=False)})
    network = UMZero(config, LAYOUT, pretrained=False)
    settle(network, config.backbone.input_size)
    export(network, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    sheets = np.random.default_rng(1).uniform(0, 100, (5, 4)).astype(np.float32)
    check(network, tmp_path, images, sheets)  # one image alone, and all together


def test_a_graph_does_not_say_where_it_was_exported(tmp_path: Path) -> None:
    export(UMZero(CONFIG, LAYOUT, pretrained=False), tmp_path)
    assert str(Path(__file__).parents[3]).encode() not in (tmp_path / EMBED).read_bytes()
