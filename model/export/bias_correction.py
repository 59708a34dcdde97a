"""What rounding a convolution's weights adds to its outputs on average, taken from its bias.

Rounded weights W + E give W x + E x: on average over photographs and positions, each output channel
is off by E mean(x). That is known before anything is quantised, and a bias costs nothing. Where few
weights make a channel, as in depthwise convolutions, their errors don't cancel, and it matters.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, arXiv:1906.04721, section 4.2; with means seen on photographs instead of assumed ones.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.numpy_helper import from_array, to_array

from model.runtime.base import F32, U8
from model.runtime.onnx_backend import session_options


def correct_biases(model: Any, ranges: Mapping[str, F32], images: U8) -> None:
    """Change the biases of convolutions that will be quantised, in place.

    Args:
        model: the fp32 graph. A convolution without a bias is left as it is.
        ranges: {convolution: (O,)}, what its output channels' weights are quantised within, -range
            to range in 255 steps.
        images: (B, S, S, 3).
    """
    constants = {item.name: item for item in model.graph.initializer}
    convolutions = [n for n in model.graph.node if n.name in ranges and len(n.input) == 3]
    if not convolutions:
        return
    means = _channel_means(model, sorted({node.input[0] for node in convolutions}), images)
    for node in convolutions:
        weights = to_array(constants[node.input[1]])
        error = rounded(weights, ranges[node.name]) - weights
        shift = mean_shift(error, means[node.input[0]])
        bias = constants[node.input[2]]
        bias.CopyFrom(from_array((to_array(bias) - shift).astype(np.float32), bias.name))


def rounded(weights: F32, ranges: F32) -> F32:
    """(O, I, h, w) weights as 8 bits hold them: -127 to 127 times range / 127, channel by channel.
    A channel without a range holds zeros."""
    steps = (np.maximum(ranges, np.finfo(np.float32).tiny) / 127)[:, None, None, None]
    values: F32 = (np.clip(np.round(weights / steps), -127, 127) * steps).astype(np.float32)
    return values


def mean_shift(error: F32, mean: F32) -> F32:
    """What weights' errors (O, I, h, w) add to each output channel, on average over positions, the
    border's padding left aside: (O,).

    Args:
        mean: (C,), of each input channel. C is I, or a multiple of it where channels are in groups.
    """
    sums = error.sum(axis=(2, 3))
    groups = len(mean) // sums.shape[1]
    inputs = np.repeat(mean.reshape(groups, -1), len(sums) // groups, axis=0)
    shift: F32 = (sums * inputs).sum(axis=1)
    return shift


def _channel_means(model: Any, tensors: list[str], images: U8) -> dict[str, F32]:
    """{tensor: (C,)}, over images and positions, of maps (1, C, h, w)."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    for name in tensors:
        graph.graph.output.add(name=name)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), session_options(0), providers=["CPUExecutionProvider"]
    )
    means = [
        [found.mean(axis=(0, 2, 3)) for found in session.run(tensors, {"images": image[None]})]
        for image in images
    ]
    return {
        name: np.mean(m, axis=0) for name, m in zip(tensors, zip(*means, strict=True), strict=True)
    }
