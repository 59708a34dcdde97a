"""The Open Inference Protocol's answers, as JSON and in the binary tensor extension.

Source: see `service.http.tensors`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.http.tensors import HEADER, LENGTH, Request


@dataclass(frozen=True, eq=False)
class Tensor:
    """An answer's: `values` of shape `shape`, texts or numbers."""

    name: str
    shape: tuple[int, ...]
    values: Sequence[str] | NDArray[np.float32]

    @property
    def datatype(self) -> str:
        return "FP32" if isinstance(self.values, np.ndarray) else "BYTES"


def write(
    model: str, version: str, request: Request, tensors: Mapping[str, Tensor]
) -> tuple[bytes, dict[str, str]]:
    """The answer's body and headers."""
    binary: list[bytes] = []
    outputs = []
    for asked in request.outputs:
        tensor = tensors[asked.name]
        item: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if asked.binary:
            binary.append(_bytes_of(tensor))
            item["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            item["data"] = [
                value if isinstance(value, str) else float(value) for value in tensor.values
            ]
        outputs.append(item)
    content: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if request.request_id is not None:
        content["id"] = request.request_id
    head = json.dumps(content, allow_nan=False).encode("ascii")
    if not binary:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(head))}
    return head + b"".join(binary), headers


def _bytes_of(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, np.ndarray):
        return np.ascontiguousarray(tensor.values, "<f4").tobytes()
    encoded = [value.encode("utf-8", "replace") for value in tensor.values]
    return b"".join(LENGTH.pack(len(value)) + value for value in encoded)
