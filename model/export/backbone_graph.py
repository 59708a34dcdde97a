"""Which nodes of an exported graph are the backbone's, and which tensors they hand to the heads.

Found by the module scopes that torch's exporter writes beside each node, so nothing here knows how
the heads compute.
"""

import ast
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from model.errors import ParityError

SCOPES = "pkg.torch.onnx.name_scopes"
BACKBONE = "backbone"


class Reader(NamedTuple):
    """Where a tensor of the backbone enters a head: a node's name and which of its inputs."""

    node: str
    position: int


def scopes_of(node: Any) -> tuple[str, ...]:
    """The modules around a node, from the outermost: ("", "network", "network.backbone", ...)."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            return tuple(ast.literal_eval(entry.value))
    return ()


def backbone_nodes(model: Any) -> list[Any]:
    """The backbone's nodes, in the graph's order.

    Raises:
        ParityError: the graph names none.
    """
    found = [n for n in model.graph.node if any(_is_backbone(s) for s in scopes_of(n))]
    if not found:
        raise ParityError(
            f"no node of the graph says that it belongs to the {BACKBONE}; "
            "write embed.onnx again with `umzero export`"
        )
    return found


def readers(model: Any) -> list[Reader]:
    """One reader for each tensor that leaves the backbone, in the order they are computed in."""
    inside = backbone_nodes(model)
    names = {node.name for node in inside}
    made = [output for node in inside for output in node.output]
    first: dict[str, Reader] = {}
    for node in model.graph.node:
        if node.name not in names:
            for position, tensor in enumerate(node.input):
                first.setdefault(tensor, Reader(node.name, position))
    return [first[tensor] for tensor in made if tensor in first]


def with_outputs(path: Path, heads: list[Reader]) -> tuple[bytes, list[str]]:
    """A copy of a graph that also returns what `heads` read: (the graph, the outputs' names)."""
    model = onnx.load(path)
    nodes = {node.name: node for node in model.graph.node}
    names = [nodes[reader.node].input[reader.position] for reader in heads]
    for name in set(names) - {output.name for output in model.graph.output}:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return model.SerializeToString(), names


def _is_backbone(scope: str) -> bool:
    return scope.rpartition(".")[2] == BACKBONE
