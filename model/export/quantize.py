"""`embed.onnx` -> `embed.int8.onnx`: the backbone in 8 bits, the heads as they are.

Static QDQ quantisation: uint8 activations with the ranges seen on real photographs (MinMax), int8
weights with a scale for each output channel; biases make up for what rounding the weights shifts.
ONNX Runtime fuses the pairs into QLinearConv and QLinearAdd; a ReLU6 becomes the range of the
convolution before it and disappears.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.numpy_helper import to_array
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from model.errors import ParityError
from model.export.backbone_graph import backbone_nodes
from model.export.bias_correction import correct_biases
from model.runtime.base import F32, U8

INT8 = "embed.int8.onnx"
# With convolutions alone, each addition and each ReLU6 would go back to float32 and round twice.
OPERATORS = ("Conv", "Clip", "Relu", "Add", "MaxPool")
ACTIVATIONS = ("Clip", "Relu")
IN_FLOAT = 3  # EfficientNet-Lite's stem and first block
PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


def quantise(source: Path, target: Path, images: U8) -> None:
    """Write the int8 graph of an exported `embed.onnx`.

    Args:
        images: (B, S, S, 3), photographs like those that will be served; about a hundred.

    Raises:
        ParityError: the graph has no convolution in its backbone that can be quantised.
    """
    model = onnx.load(source)
    # The exporter has folded constants and inferred shapes already, which is all that ONNX
    # Runtime's own preparation would do; without this mark it warns on every call.
    model.metadata_props.add(key=PREPARED[0], value=PREPARED[1])
    nodes = quantised_nodes(model)
    ranges = _weight_ranges(model, nodes)
    correct_biases(model, ranges, images)
    weights_of = {node.name: node.input[1] for node in model.graph.node if node.name in ranges}
    quantize_static(
        model,
        target,
        _Reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS),
        nodes_to_quantize=nodes,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "TensorQuantOverrides": {
                weights_of[node]: [{"axis": 0, "rmin": -float(r), "rmax": float(r)} for r in limits]
                for node, limits in ranges.items()
            }
        },
    )


def quantised_nodes(model: Any) -> list[str]:
    """Names of the backbone's nodes to quantise: all of `OPERATORS` but the first `IN_FLOAT`
    convolutions and their activations. Few channels don't fill an int8 dot product, so that these
    run slower in 8 bits, and what they round stays in all that follows.

    Raises:
        ParityError: there are none.
    """
    nodes = [node for node in backbone_nodes(model) if node.op_type in OPERATORS]
    first = [node for node in nodes if node.op_type == "Conv"][:IN_FLOAT]
    outputs = {name for node in first for name in node.output}
    names = [
        node.name
        for node in nodes
        if not outputs & {*node.output}
        and (node.op_type not in ACTIVATIONS or not outputs & {*node.input})
    ]
    if not names:
        raise ParityError(
            "the backbone of embed.onnx has nothing to quantise; expected more than one convolution"
        )
    return names


def range_without_overflow(weights: F32) -> F32:
    """The range of int8 weights that no x86 CPU overflows on, for each output channel.

    Without VNNI, two neighbours' products with uint8 activations are added in 16 bits, which
    saturate above 32767: the two quantised weights must not add up to more than 128. A narrower
    range than reducing all weights to 7 bits, and the same answers on every CPU.

    Args:
        weights: (O, I, h, w) of a convolution.

    Returns:
        (O,): quantise -range..range to -127..127.
    """
    # As ONNX Runtime lays them out for its matrix product: position by position, channels inside.
    rows = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
    largest: F32 = np.abs(rows).max(axis=1)
    if weights.shape[1] == 1:  # depthwise: its own kernel, which adds in 32 bits
        return largest
    pairs = rows[:, : rows.shape[1] // 2 * 2].reshape(len(rows), -1, 2).sum(axis=2)
    # 127 of these 128: rounding may add a half to each of the two.
    result: F32 = np.maximum(largest, np.abs(pairs).max(axis=1, initial=0))
    return result


def _weight_ranges(model: Any, names: list[str]) -> dict[str, F32]:
    """{convolution: its `range_without_overflow`}."""
    constants = {item.name: item for item in model.graph.initializer}
    return {
        node.name: range_without_overflow(to_array(constants[node.input[1]]))
        for node in model.graph.node
        if node.op_type == "Conv" and node.name in names
    }


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, images: Iterable[U8]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, U8] | None:
        """One image as the graph's input; None after the last."""
        image = next(self._images, None)
        return None if image is None else {"images": image[None]}
