"""One Mamba-2 block: projections, a short causal convolution, state space duality, a gated norm.

With two directions, a second block reads the sequence from its end, and both answers are added:
one projection feeds both, and each keeps convolution, decays, B and C of its own. All stays in the
sequence's order; the second direction looks the other way instead.

Source: Dao and Gu, ICML 2024, arXiv:2405.21060, figure 6 (the block with parallel projections);
two directions as in Zhu et al., "Vision Mamba", ICML 2024, arXiv:2401.09417.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import ConfigError
from model.nn.ssd_kernels import ssd_auto
from model.nn.unit import RMSNorm

STEP_RANGE = (1e-3, 1e-1)  # of dt at the start of training
DECAY_RANGE = (1.0, 16.0)  # of -A at the start of training


class _Parts(NamedTuple):
    """Directions side by side; `heads` and `groups` count all of them."""

    z: Tensor  # (B, N, directions * inner), the gate
    x: Tensor  # (B, N, heads, head_width)
    dt: Tensor  # (B, N, heads), > 0
    A: Tensor  # (heads,), < 0
    B: Tensor  # (B, N, groups, state)
    C: Tensor  # (B, N, groups, state)


class Mamba2(nn.Module):
    """Each token reads the tokens before it, and itself, through a state that decays; with two
    directions also those behind it.

    Args:
        width: channels of a token.
        state: numbers of state for each channel.
        head_width: channels of a head.
        expand: channels inside, in multiples of `width`, for each direction.
        groups: how many (B, C) the heads of a direction share.
        conv: how many tokens the causal convolution sees.
        chunk: see `model.nn.ssd.ssd`; sequences up to it are one matrix product.
        directions: 1, or 2.

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
        directions: int = 1,
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
        self.groups, self.state, self.chunk, self.directions = groups, state, chunk, directions
        # What the convolution sees, x, B and C, for each direction.
        self.mixed = inner + 2 * groups * state
        rows = directions * (inner + self.mixed + heads)  # all gates, all `mixed`, all dt
        self.project_in = nn.Linear(width, rows, bias=False)
        channels = directions * self.mixed
        self.convolution = nn.Conv1d(channels, channels, conv, groups=channels)
        self.dt_bias = nn.Parameter(_inverse_softplus(_log_uniform(directions * heads, STEP_RANGE)))
        self.A_log = nn.Parameter(torch.empty(directions * heads).uniform_(*DECAY_RANGE).log())
        self.D = nn.Parameter(torch.ones(directions * heads))
        self.norm = RMSNorm(inner)
        self.project_out = nn.Linear(directions * inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width); with one direction, output t depends on tokens up to
        t."""
        return self.mix(self.project_in(tokens))

    def mix(self, projected: Tensor) -> Tensor:
        """What follows `project_in`: (B, N, rows) -> (B, N, width)."""
        parts = self._parts(projected)
        y = ssd_auto(*parts[1:], self.chunk, backward=(self.directions - 1) * self.groups)
        skip = self.D[:, None, None].to(y.dtype)
        y = y.permute(0, 2, 3, 1) + parts.x.permute(0, 2, 3, 1) * skip  # (B, heads, head_width, N)
        y = y.flatten(1, 2).mT * functional.silu(parts.z)
        gated = y.reshape(*y.shape[:2], self.directions, self.inner)
        outputs: Tensor = self.project_out(self.norm(gated).flatten(2))
        return outputs

    def _parts(self, projected: Tensor) -> _Parts:
        batch, count, _ = projected.shape
        ways, shared = self.directions, self.groups * self.state
        sizes = [ways * self.inner, ways * self.mixed, ways * self.heads]
        z, mixed, dt = torch.split(projected, sizes, dim=-1)
        mixed = functional.silu(self._convolve(mixed)).reshape(batch, ways, self.mixed, count)
        # Channels first, as they come; what the scan multiplies needs no other order.
        x, B, C = torch.split(mixed, [self.inner, shared, shared], dim=2)
        return _Parts(
            z,
            x.reshape(batch, ways * self.heads, self.head_width, count).permute(0, 3, 1, 2),
            # In float32 at least, also under autocast: the decays are exponentials of sums of dt.
            functional.softplus(_at_least_float32(dt) + self.dt_bias),
            -torch.exp(_at_least_float32(self.A_log)),
            B.reshape(batch, ways * self.groups, self.state, count).permute(0, 3, 1, 2),
            C.reshape(batch, ways * self.groups, self.state, count).permute(0, 3, 1, 2),
        )

    def _convolve(self, mixed: Tensor) -> Tensor:
        """(B, N, channels) -> (B, channels, 1, N), an image of one row: inference engines have
        their fast kernels for those."""
        taps = self.convolution.weight  # (channels, 1, conv)
        others = taps.shape[-1] - 1
        # One convolution for both: tokens before in the first half, tokens behind in the second.
        padded = [functional.pad(taps[: self.mixed], (0, others * (self.directions - 1)))]
        if self.directions == 2:
            padded.append(functional.pad(taps[self.mixed :].flip(2), (others, 0)))
        image = mixed[:, None].permute(0, 3, 1, 2)
        if self.directions == 1:
            image = functional.pad(image, (others, 0))
        return functional.conv2d(
            image,
            torch.cat(padded)[:, :, None],
            self.convolution.bias,
            padding=(0, others * (self.directions - 1)),
            groups=len(taps),
        )


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _log_uniform(count: int, bounds: tuple[float, float]) -> Tensor:
    low, high = map(math.log, bounds)
    return torch.empty(count).uniform_(low, high).exp()


def _inverse_softplus(values: Tensor) -> Tensor:
    return values + torch.log(-torch.expm1(-values))
