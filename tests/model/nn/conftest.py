"""The recurrence that state space duality stands for, and inputs for it."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def recurrence():
    """`ssd` written out step by step: a function of x, dt, A, B, C."""
    return step_by_step


@pytest.fixture
def inputs():
    """A function of the length (and sizes) that gives x, dt, A, B, C with gradients."""
    return scan_inputs


def step_by_step(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """One token after the other, one head after the other."""
    batch, length, heads, headdim = x.shape
    group_of = [head // (heads // B.shape[2]) for head in range(heads)]
    B, C = B[:, :, group_of], C[:, :, group_of]
    state = x.new_zeros(batch, heads, headdim, B.shape[-1])
    outputs = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        entering = torch.einsum("bhp,bhn->bhpn", x[:, t] * dt[:, t, :, None], B[:, t])
        state = decay * state + entering
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C[:, t]))
    return torch.stack(outputs, dim=1)


def scan_inputs(length, groups=2, dtype=torch.float64, *, batch=2, heads=4, headdim=5, state=3):
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(batch, length, heads, headdim, generator=generator, dtype=torch.float64)
    dt = torch.rand(batch, length, heads, generator=generator, dtype=torch.float64) + 1e-3
    A = -torch.rand(heads, generator=generator, dtype=torch.float64) * 4 - 0.01
    B, C = torch.randn(
        2, batch, length, groups, state, generator=generator, dtype=torch.float64
    ).unbind()
    return [tensor.to(dtype).requires_grad_() for tensor in (x, dt, A, B, C)]
