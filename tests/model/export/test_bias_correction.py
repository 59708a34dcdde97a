"""Bias correction against convolutions carried out."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from model.export.bias_correction import correct_biases, mean_shift, rounded

onnx = pytest.importorskip("onnx", reason="needs the package onnx to read graphs")

SIZE = 32


class Network(nn.Module):
    """(B, S, S, 3) -> (B, 6, S, S): a dense, a depthwise and a pointwise convolution, no border."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 1, groups=8), nn.ReLU6(),
            nn.Conv2d(8, 6, 1), nn.Conv2d(6, 6, 1, groups=2),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.backbone(images.permute(0, 3, 1, 2) / 100)
        return maps


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def path(tmp_path: Path, images: np.ndarray) -> Path:
    torch.manual_seed(0)
    program = torch.onnx.export(
        Network().eval(), (torch.from_numpy(images[:2]),), dynamo=True, input_names=["images"],
        output_names=["maps"], dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    program.save(tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def _mean_of(model, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (maps,) = session.run(None, {"images": images})
    return maps.mean(axis=(0, 2, 3))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_shift_is_what_the_errors_add_to_a_convolution_s_mean(groups: int) -> None:
    draw = np.random.default_rng(groups)
    error = draw.standard_normal((12, 6 // groups, 3, 3)).astype(np.float32)
    # Channels that are constant over the positions: with them the mean leaves nothing out.
    inputs = np.broadcast_to(draw.standard_normal((4, 6, 1, 1)), (4, 6, 5, 5)).astype(np.float32)
    convolved = nn.functional.conv2d(
        torch.from_numpy(inputs.copy()), torch.from_numpy(error), groups=groups
    )
    expected = convolved.mean(dim=(0, 2, 3)).numpy()
    np.testing.assert_allclose(mean_shift(error, inputs.mean(axis=(0, 2, 3))), expected, atol=1e-5)


def test_a_corrected_graph_with_rounded_weights_has_the_means_of_the_exact_one(
    path: Path, images: np.ndarray
) -> None:
    model = onnx.load(path)
    expected = _mean_of(model, images)
    constants = {item.name: item for item in model.graph.initializer}
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    weights = onnx.numpy_helper.to_array(constants[last.input[1]])
    ranges = np.abs(weights).max(axis=(1, 2, 3)) * 20  # coarse: errors that can be seen

    coarse = onnx.numpy_helper.from_array(rounded(weights, ranges), last.input[1])
    uncorrected = onnx.load(path)
    correct_biases(model, {last.name: ranges}, images)
    for changed in (model, uncorrected):
        for item in changed.graph.initializer:
            if item.name == coarse.name:
                item.CopyFrom(coarse)
    np.testing.assert_allclose(_mean_of(model, images), expected, atol=1e-4)
    assert np.abs(_mean_of(uncorrected, images) - expected).max() > 1e-2
