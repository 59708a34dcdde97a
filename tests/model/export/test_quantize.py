"""The int8 graph of a small network with random weights: what is quantised, and what is not."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig, PrototypeConfig
from model.errors import ParityError
from model.export import parity
from model.export.backbone_graph import backbone_nodes, readers, scopes_of, with_outputs
from model.export.bias_correction import rounded
from model.export.onnx import EMBED, export
from model.export.quantize import IN_FLOAT, INT8, quantise, quantised_nodes, range_without_overflow
from model.nn.umzero import AttributeLayout, UMZero
from model.runtime.onnx_backend import session_options

onnx = pytest.importorskip("onnx", reason="needs the package onnx to read graphs")

SIZE = 64
STAGES = ("block2", "block4")


@pytest.fixture(scope="module")
def network() -> UMZero:
    torch.manual_seed(0)
    config = ModelConfig(
        BackboneConfig(input_size=SIZE, stages=STAGES),
        HGAConfig(stages=STAGES[:1], channels=(8,)),
        MIMConfig(stages=STAGES, width=16, state=4, head_width=8),
        PrototypeConfig(embedding_dim=4),
        foreground=STAGES,
    )
    layout = AttributeLayout((0, 0, 1, 1, 2), torch.zeros(5), torch.full((5,), 100.0))
    return UMZero(config, layout, pretrained=False).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(network: UMZero, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs")
    export(network, path)
    quantise(path / EMBED, path / INT8, images)
    return path


def test_only_the_backbone_is_quantised_and_nothing_of_the_heads_is_touched(folder: Path) -> None:
    before, after = onnx.load(folder / EMBED), onnx.load(folder / INT8)
    inside = {node.name for node in backbone_nodes(before)}
    heads = {n.name: n.op_type for n in before.graph.node if n.name not in inside}
    added = ("QuantizeLinear", "DequantizeLinear")
    kept = {
        n.name: n.op_type
        for n in after.graph.node
        if n.name not in inside and n.op_type not in added
    }
    assert kept == heads
    assert any(scope.endswith("mim") for n in after.graph.node for scope in scopes_of(n))
    weights = [i.name for i in after.graph.initializer if i.name.endswith("weight_quantized")]
    assert weights
    assert all("backbone" in name for name in weights)


def test_onnx_runtime_fuses_every_quantised_convolution_and_no_relu6_of_theirs_is_left(
    folder: Path, tmp_path: Path
) -> None:
    convolutions = [n for n in backbone_nodes(onnx.load(folder / EMBED)) if n.op_type == "Conv"]
    options = session_options(1)
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(folder / INT8, options, providers=["CPUExecutionProvider"])
    fused = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert fused.count("QLinearConv") == len(convolutions) - IN_FLOAT
    activations = [n for n in backbone_nodes(onnx.load(folder / INT8)) if n.op_type == "Clip"]
    assert len(activations) == 2  # of the stem, and of the first block


def test_weights_have_a_scale_for_each_output_channel(folder: Path) -> None:
    constants = {i.name: i for i in onnx.load(folder / INT8).graph.initializer}
    for name, constant in constants.items():
        if name.endswith("weight_quantized"):
            scale = constants[name.replace("_quantized", "_scale")]
            assert list(scale.dims) == [constant.dims[0]]
            assert constant.data_type == onnx.TensorProto.INT8


def test_weights_are_rounded_as_the_bias_correction_thinks(folder: Path) -> None:
    before, after = onnx.load(folder / EMBED), onnx.load(folder / INT8)
    exact, constants = ({i.name: i for i in m.graph.initializer} for m in (before, after))
    array = onnx.numpy_helper.to_array
    checked = 0
    for node in before.graph.node:
        if node.name in quantised_nodes(before) and node.op_type == "Conv":
            name = node.input[1]
            weights = array(exact[name])
            scale = array(constants[f"{name}_scale"])[:, None, None, None]
            expected = array(constants[f"{name}_quantized"]) * scale
            actual = rounded(weights, range_without_overflow(weights))
            # Halves may be rounded either way.
            assert np.mean(~np.isclose(actual, expected, atol=1e-6)) < 1e-3
            checked += 1
    assert checked > 3


def test_what_the_heads_read_is_what_the_backbone_computes(
    folder: Path, network: UMZero, images: np.ndarray
) -> None:
    graph, names = with_outputs(folder / EMBED, readers(onnx.load(folder / EMBED)))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network.backbone(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    assert len(names) == len(STAGES)
    for actual, maps in zip(session.run(names, {"images": images}), expected, strict=True):
        np.testing.assert_allclose(actual, maps, atol=1e-4)


def test_the_int8_graph_passes_the_check_and_a_wrong_one_does_not(
    folder: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowest = parity.check_int8(folder, images)
    embedding = [
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"]).run(
            ["embedding"], {"images": images}
        )[0]
        for name in (EMBED, INT8)
    ]
    assert lowest == pytest.approx(min(a @ b for a, b in zip(*embedding, strict=True)), abs=1e-5)
    monkeypatch.setattr(parity, "LOWEST_COSINE", 1.1)
    with pytest.raises(ParityError, match=r"has cosine .*, expected at least 1\.1"):
        parity.check_int8(folder, images)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_int8_graph_without_finite_outputs_is_refused(
    folder: Path, images: np.ndarray, tmp_path: Path, value: float
) -> None:
    (tmp_path / EMBED).write_bytes((folder / EMBED).read_bytes())
    broken = onnx.load(folder / INT8)
    for constant in broken.graph.initializer:
        if constant.name.endswith("attribute_head.bias"):
            constant.CopyFrom(
                onnx.numpy_helper.from_array(np.full(5, value, np.float32), constant.name)
            )
    last = next(n for n in broken.graph.node if "embedding" in n.output)
    last.output[0] = "finite"
    broken.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(value, np.float32), "broken")
    )
    broken.graph.node.append(onnx.helper.make_node("Mul", ["finite", "broken"], ["embedding"]))
    onnx.save(broken, tmp_path / INT8)
    with pytest.raises(ParityError, match="infinite numbers or NaN"):
        parity.check_int8(tmp_path, images)


def test_a_graph_that_does_not_name_its_backbone_is_refused(
    folder: Path, images: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(folder / EMBED)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, tmp_path / EMBED)
    with pytest.raises(ParityError, match="umzero export"):
        quantise(tmp_path / EMBED, tmp_path / INT8, images)


def test_stem_and_first_block_stay_in_float32(folder: Path) -> None:
    model = onnx.load(folder / EMBED)
    nodes = [n for n in backbone_nodes(model) if n.op_type in ("Conv", "Clip", "Add")]
    left_out = [n.op_type for n in nodes if n.name not in quantised_nodes(model)]
    assert left_out == ["Conv", "Clip", "Conv", "Clip", "Conv"]


@pytest.mark.parametrize("shape", [(5, 12, 1, 1), (3, 7, 1, 1), (4, 6, 3, 3), (2, 1, 1, 1)])
def test_no_two_neighbouring_products_overflow_16_bits(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    limits = range_without_overflow(weights)
    for channel, limit in zip(weights, limits, strict=True):
        row = [round(float(w) / float(limit) * 127) for w in channel.transpose(1, 2, 0).ravel()]
        assert max(map(abs, row)) <= 127
        assert all(255 * abs(a + b) <= 32767 for a, b in list(pairwise(row))[::2])
        # No wider than what always suffices: 7 bits.
        assert limit <= 2 * np.abs(channel).max()


def test_depthwise_weights_and_channels_without_any_keep_their_range() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    weights[2] = 0
    expected = [float(abs(channel).max()) for channel in weights]
    np.testing.assert_array_equal(range_without_overflow(weights), np.float32(expected))
