"""Lets the first quantised convolution read a photograph's bytes, which are quantised already.

(byte - mean) / deviation, with one whole mean for all channels, is what dequantising with the scale
1 / deviation and the zero point `mean` computes. Converting to float and back is left out, exactly.
"""

from typing import Any, NamedTuple

import numpy as np
from onnx.numpy_helper import to_array

from model.export.backbone_graph import backbone_nodes


class Normalisation(NamedTuple):
    """tensor = (raw - zero_point) * scale, where the first convolution reads `tensor`."""

    tensor: str
    raw: str
    scale: float
    zero_point: int

    @property
    def override(self) -> dict[str, Any]:
        """The same, as onnxruntime's override of the tensor's quantisation."""
        zero, scale = np.array(self.zero_point, np.uint8), np.array(self.scale, np.float32)
        return {"scale": scale, "zero_point": zero}


def find_normalisation(model: Any) -> Normalisation | None:
    """The normalisation in front of a backbone's first convolution; None where it is of another
    kind, such as one with a mean for each channel."""
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {item.name: item for item in model.graph.initializer}
    stem = next((node for node in backbone_nodes(model) if node.op_type == "Conv"), None)
    if stem is None:
        return None
    steps, tensor = [], stem.input[0]
    for kind in ("Div", "Sub", "Cast"):
        node = makers.get(tensor)
        if node is None or node.op_type != kind:
            return None
        steps.append(node)
        tensor = node.input[0]
    values = [
        to_array(constants[node.input[1]]) for node in steps[:2] if node.input[1] in constants
    ]
    if len(values) != 2 or any(value.size != 1 for value in values):
        return None
    deviation, mean = (value.item() for value in values)
    if mean != int(mean) or not 0 <= mean <= 255:
        return None
    return Normalisation(stem.input[0], tensor, 1 / deviation, int(mean))


def read_raw(model: Any, found: Normalisation) -> None:
    """Change a quantised graph, whose quantisation of `found.tensor` was `found.override`."""
    nodes = model.graph.node
    quantise = next(
        node for node in nodes if node.op_type == "QuantizeLinear" and node.input[0] == found.tensor
    )
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] == quantise.output[0]:
            node.input[0] = found.raw
    makers = {output: node for node in nodes for output in node.output}
    unread = quantise
    while unread.output[0] != found.raw:
        nodes.remove(unread)
        unread = makers[unread.input[0]]
