"""Rows of unit length, or of unit mean square, in as few operators as will do."""

import torch
from torch import Tensor, nn


def unit_rows(rows: Tensor) -> Tensor:
    """(..., D) -> (..., D) of length 1; a row of zeros stays one."""
    result: Tensor = rows / (torch.linalg.vector_norm(rows, dim=-1, keepdim=True) + 1e-12)
    return result


class RMSNorm(nn.Module):
    """`torch.nn.RMSNorm` in the form that ONNX Runtime knows as one operator.

    Source: Zhang and Sennrich, NeurIPS 2019, arXiv:1910.07467.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        scaled: Tensor = rows / torch.sqrt(rows.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return scaled * self.weight
