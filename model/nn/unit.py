"""Rows of unit length, in as few operators as will do."""

import torch
from torch import Tensor


def unit_rows(rows: Tensor) -> Tensor:
    """(..., D) -> (..., D) of length 1; a row of zeros stays one."""
    result: Tensor = rows / (torch.linalg.vector_norm(rows, dim=-1, keepdim=True) + 1e-12)
    return result
