"""One Mamba-2 block: projections, a short causal convolution, state space duality, a gated norm.

Source: Dao and Gu, ICML 2024, arXiv:2405.21060, figure 6 (the block with parallel projections).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import ConfigError
from model.nn.ssd_kernels import ssd_auto

STEP_RANGE = (1e-3, 1e-1)  # of dt at the start of training
DECAY_RANGE = (1.0, 16.0)  # of -A at the start of training


class _Parts(NamedTuple):
    z: Tensor  # (B, N, inner), the gate
    x: Tensor  # (B, N, heads, head_width)
    dt: Tensor  # (B, N, heads), > 0
    A: Tensor  # (heads,), < 0
    B: Tensor  # (B, N, groups, state)
    C: Tensor  # (B, N, groups, state)


class Mamba2(nn.Module):
    """Each token reads the tokens before it, and itself, through a state that decays.

    Args:
        width: channels of a token.
        state: numbers of state for each channel.
        head_width: channels of a head.
        expand: channels inside, in multiples of `width`.
        groups: how many (B, C) the heads share.
        conv: how many tokens the causal convolution sees.
        chunk: see `model.nn.ssd.ssd`; sequences up to it are one matrix product.

    Raises:
        ConfigError: head_width doesn't divide expand * width, or groups the heads.
    """

    def __init__(
        self,
        width: int,
        state: int = 32,
        head_width: int = 32,
        expand: int = 2,
        groups: int = 1,
        conv: int = 4,
        chunk: int = 128,
    ) -> None:
        super().__init__()
        inner = expand * width
        heads = inner // head_width
        if heads * head_width != inner or heads % groups:
            raise ConfigError(
                f"Mamba2 got {expand} * {width} = {inner} channels, heads of {head_width} and "
                f"{groups} groups; heads must divide the channels and groups the heads"
            )
        self.inner, self.heads, self.head_width = inner, heads, head_width
        self.groups, self.state, self.chunk = groups, state, chunk
        mixed = inner + 2 * groups * state  # what the convolution sees: x, B and C
        self.project_in = nn.Linear(width, inner + mixed + heads, bias=False)
        self.convolution = nn.Conv1d(mixed, mixed, conv, groups=mixed, padding=conv - 1)
        self.dt_bias = nn.Parameter(_inverse_softplus(_log_uniform(heads, *STEP_RANGE)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(*DECAY_RANGE).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.project_out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width); output t depends on tokens up to t."""
        parts = self._parts(tokens)
        y = ssd_auto(*parts[1:], self.chunk) + parts.x * self.D[:, None].to(parts.x.dtype)
        gated = y.flatten(2) * functional.silu(parts.z)
        outputs: Tensor = self.project_out(self.norm(gated))
        return outputs

    def _parts(self, tokens: Tensor) -> _Parts:
        batch, count, _ = tokens.shape
        shared = self.groups * self.state
        z, mixed, dt = torch.split(
            self.project_in(tokens), [self.inner, self.inner + 2 * shared, self.heads], dim=-1
        )
        # Padded on both sides; the first `count` outputs are the causal ones.
        mixed = functional.silu(self.convolution(mixed.transpose(1, 2))[..., :count])
        x, B, C = torch.split(mixed.transpose(1, 2), [self.inner, shared, shared], dim=-1)
        return _Parts(
            z,
            x.reshape(batch, count, self.heads, self.head_width),
            # In float32 at least, also under autocast: the decays are exponentials of sums of dt.
            functional.softplus(_at_least_float32(dt) + self.dt_bias),
            -torch.exp(_at_least_float32(self.A_log)),
            B.reshape(batch, count, self.groups, self.state),
            C.reshape(batch, count, self.groups, self.state),
        )


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _log_uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(math.log(low), math.log(high)).exp()


def _inverse_softplus(values: Tensor) -> Tensor:
    return values + torch.log(-torch.expm1(-values))
