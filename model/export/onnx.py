"""A bundle's network as two ONNX graphs: `embed.onnx` and `prototypes.onnx`."""

import copy
import warnings
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from onnxscript import opset20
from torch import Tensor, nn
from torch.export import Dim

from model.nn.backbone import Backbone, fold_batch_norm
from model.nn.umzero import Output, UMZero

# Pinned, so that the same code writes the same graph: the first one with everything that is needed.
OPSET = 20
EMBED = "embed.onnx"
PROTOTYPES = "prototypes.onnx"
_STACK_TRACE = "pkg.torch.onnx.stack_trace"


class _Embed(nn.Module):
    def __init__(self, network: UMZero) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(images))


class _Prototypes(nn.Module):
    def __init__(self, network: UMZero) -> None:
        super().__init__()
        self.unit = network.prototype_unit

    def forward(self, class_attributes: Tensor) -> Tensor:
        prototypes: Tensor = self.unit(class_attributes)
        return prototypes


def _softplus(rows: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """ONNX's own operator, which is exact at any size: torch's exporter adds a comparison and a
    choice, for the threshold from which torch takes the input itself."""
    assert (beta, threshold) == (1.0, 20.0)  # torch's defaults
    return opset20.Softplus(rows)


def export(network: UMZero, folder: Path) -> None:
    """Write both graphs, with batch normalisation folded away and a free batch size.

    `embed.onnx`: `images` uint8 (B, S, S, 3) -> `embedding` (B, D), `attributes` (B, A),
    `maps` (B, T, h, w), `fine` (B, C, h', w'), `coarse` (B, C', h", w").
    `prototypes.onnx`: `class_attributes` float32 (C, A) -> `prototypes` (C, D).
    """
    network = copy.deepcopy(network).eval()
    network.backbone = cast(Backbone, fold_batch_norm(network.backbone))
    size, attributes = network.config.backbone.input_size, len(network.prototype_unit.minimum)
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(
        _Embed(network),
        torch.zeros(2, size, size, 3, dtype=torch.uint8),
        folder / EMBED,
        "images",
        Output._fields,
    )
    write_graph(
        _Prototypes(network),
        torch.zeros(2, attributes),
        folder / PROTOTYPES,
        "class_attributes",
        ("prototypes",),
    )


def write_graph(
    module: nn.Module, example: Tensor, path: Path, input_name: str, outputs: tuple[str, ...]
) -> None:
    """One module of one input as a graph with a free batch size.

    Args:
        example: an input, of two rows at least: a single one would be taken for a constant.
    """
    with warnings.catch_warnings():
        # The exporter warns of its own deprecations; none concerns the graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_shapes=({0: Dim("batch", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.aten.softplus.default: _softplus},
        )
    graph = onnx.load(path)
    for node in graph.graph.node:
        # Where the exporter ran, line by line: of no use elsewhere.
        kept = [entry for entry in node.metadata_props if entry.key != _STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(graph, path)
