"""State space duality (Mamba-2) in plain torch: chunked matrix products, any device, exportable.

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T        the state, (headdim, state), for each head
    y_t = h_t C_t

is the same as y = W (dt x) with W[t, s] = (C_t . B_s) exp(sum_{s < k <= t} dt_k A) for s <= t, a
matrix of L x L for each head. Within a chunk the matrix is used; between chunks only states pass.

Source: Dao and Gu, ICML 2024, arXiv:2405.21060, section 6. Heads that read a sequence from its end
have the transposed pattern, s >= t, as in Hwang et al., "Hydra", NeurIPS 2024, arXiv:2407.09941.

Letters, as in the paper:
    x   what flows in, (b, L, heads, headdim)        y   what comes out, the same shape
    dt  step sizes > 0, (b, L, heads)                A   decay rates < 0, (heads,)
    B   how x enters the state, (b, L, groups, state)
    C   how the state is read, (b, L, groups, state)
    b batch, L length, q chunk length, c number of chunks; heads share B and C in groups:
    head i belongs to group i // (heads / groups)
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional


def ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int = 64, backward: int = 0
) -> Tensor:
    """Scan a sequence with a state that decays; no skip (D), no gate.

    Args:
        x: (b, L, heads, headdim), any float dtype.
        dt: (b, L, heads), > 0.
        A: (heads,), < 0.
        B: (b, L, groups, state); groups divides heads.
        C: (b, L, groups, state).
        chunk: the longest piece that is done as one matrix; L up to it needs no states at all.
        backward: how many of the groups, the last ones, are scanned from the sequence's end.

    Returns:
        y, (b, L, heads, headdim), in x's dtype; half precision is computed in float32.

    Raises:
        ValueError: the shapes don't fit together.
    """
    _check(x, dt, A, B, C)
    if chunk < 1:
        raise ValueError(f"ssd got chunk {chunk}; it must be at least 1")
    if not 0 <= backward <= B.shape[2]:
        raise ValueError(f"ssd got backward {backward} of {B.shape[2]} groups")
    exact = torch.promote_types(x.dtype, torch.float32)
    result_dtype = x.dtype
    x, dt, A, B, C = (tensor.to(exact) for tensor in (x, dt, A, B, C))
    if x.shape[1] <= chunk:
        return _one_chunk(x, dt, A, B, C, backward).to(result_dtype)
    return in_scanning_order(partial(_chunks, q=chunk), x, dt, A, B, C, backward).to(result_dtype)


def in_scanning_order(
    scan: Callable[..., Tensor],
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    backward: int,
) -> Tensor:
    """`scan`, which knows but one direction, on sequences of which the last `backward` groups (as
    in `ssd`) are turned around before and after."""
    groups = B.shape[2]
    x, dt, B, C = (_turned(tensor, backward, groups) for tensor in (x, dt, B, C))
    return _turned(scan(x, dt, A, B, C), backward, groups)


def _turned(tensor: Tensor, backward: int, groups: int) -> Tensor:
    """(b, L, heads or groups, ...), the last groups' share from its end."""
    if backward == 0:
        return tensor
    first = tensor.shape[2] // groups * (groups - backward)
    return torch.cat([tensor[:, :, :first], tensor[:, :, first:].flip(1)], dim=2)


def _one_chunk(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backward: int = 0) -> Tensor:
    length, heads, groups = x.shape[1], x.shape[2], B.shape[2]
    scores = C.transpose(1, 2) @ B.permute(0, 2, 3, 1)  # (b, groups, L, L)
    turns = _turns(heads, heads // groups * backward, A)
    dt = dt.mT  # (b, heads, L)
    decays = _decays(dt * (A - 2 * A * turns)[:, None], turns)
    decays = decays.reshape(-1, groups, heads // groups, length, length)
    weights = (scores[:, :, None] * decays).flatten(1, 2)  # (b, heads, L, L)
    # Channels before positions, as the block around this has them: fewer turns in a graph.
    steps = x.permute(0, 2, 3, 1) * dt[:, :, None]  # (b, heads, headdim, L)
    y: Tensor = (steps @ weights.mT).permute(0, 3, 1, 2)
    return y


def _chunks(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, q: int) -> Tensor:
    b, length, heads, headdim = x.shape
    groups, state = B.shape[2:]
    c = math.ceil(length / q)
    missing = c * q - length
    # A step of dt = 0 neither decays the state nor adds to it.
    x, B, C = (functional.pad(tensor, (0, 0, 0, 0, 0, missing)) for tensor in (x, B, C))
    dt = functional.pad(dt, (0, 0, 0, missing))

    x = x.reshape(b * c, q, heads, headdim)
    dt = dt.reshape(b * c, q, heads)
    B = B.reshape(b * c, q, groups, state)
    C = C.reshape(b * c, q, groups, state)
    within = _one_chunk(x, dt, A, B, C).reshape(b, c, q, heads, headdim)

    B, C = (t.repeat_interleave(heads // groups, dim=2) for t in (B, C))  # (b c, q, heads, state)
    passed = (dt * A).to(torch.float64).cumsum(dim=1)  # (b c, q, heads)
    until_end = (passed[:, -1:] - passed).to(x.dtype).exp()
    since_start = passed.to(x.dtype).exp()

    weighted = (B * (until_end * dt)[..., None]).permute(0, 2, 3, 1)  # (b c, heads, state, q)
    added = (weighted @ x.transpose(1, 2)).reshape(b, c, heads, state, headdim)
    totals = passed[:, -1].reshape(b, c, heads)
    before = _states_before(added, totals).reshape(b * c, heads, state, headdim)

    reading = (C * since_start[..., None]).transpose(1, 2)  # (b c, heads, q, state)
    carried = (reading @ before).transpose(1, 2).reshape(b, c, q, heads, headdim)
    return (within + carried).reshape(b, c * q, heads, headdim)[:, :length]


def _states_before(added: Tensor, totals: Tensor) -> Tensor:
    """The state with which each chunk starts: the same recurrence, with a chunk for a step.

    Args:
        added: (b, c, heads, state, headdim), what each chunk adds to the state.
        totals: (b, c, heads), the logarithm of what is left of a state after each chunk.

    Returns:
        (b, c, heads, state, headdim); the first is 0.
    """
    b, c, heads, state, headdim = added.shape
    decays = _decays(totals.transpose(1, 2), _turns(heads, 0, totals)).to(added.dtype)
    flat = added.transpose(1, 2).reshape(b, heads, c, state * headdim)
    after = (decays @ flat).reshape(b, heads, c, state, headdim).transpose(1, 2)
    return torch.cat([torch.zeros_like(added[:, :1]), after[:, :-1]], dim=1)


def _turns(heads: int, backward: int, like: Tensor) -> Tensor:
    """(heads,): 1 for the last `backward` heads, which scan from the end, 0 for the others."""
    return (torch.arange(heads, device=like.device) >= heads - backward).to(like)


def _decays(logarithms: Tensor, turns: Tensor) -> Tensor:
    """(..., heads, n) logarithms of each step's decay, negative ones of them where a head turns
    (heads,), -> (..., heads, n, n): [t, s] is exp(sum_{s < k <= t}) for s <= t, else 0; for heads
    that turn exp(sum_{t <= k < s}) for s >= t, else 0.

    The sums are differences of running totals, which cancel: hence float64.
    """
    exact = logarithms.to(torch.float64)
    # Backwards, [t, s] is a difference of totals without the last step, the other way round.
    totals = exact.cumsum(dim=-1) - exact * turns[:, None]
    sums = (totals[..., :, None] - totals[..., None, :]).to(logarithms.dtype)
    return (sums + _reach(turns, logarithms.shape[-1]).to(sums)).exp()


def _reach(turns: Tensor, n: int) -> Tensor:
    """(heads, n, n): 0 where a head's position t reads s, -inf where not. Added before the
    exponential, which could overflow there and make the gradients NaN."""
    later = torch.full((n, n), -math.inf, device=turns.device).triu(1)
    return torch.where(turns[:, None, None] > 0, later.mT, later)


def _check(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    shapes = f"x {_shape(x)}, dt {_shape(dt)}, A {_shape(A)}, B {_shape(B)}, C {_shape(C)}"
    expected = "x (b, L, heads, headdim), dt (b, L, heads), A (heads,), B, C (b, L, groups, state)"
    if (
        x.dim() != 4
        or B.dim() != 4
        or dt.shape != x.shape[:3]
        or A.shape != x.shape[2:3]
        or B.shape[:2] != x.shape[:2]
        or B.shape != C.shape
    ):
        raise ValueError(f"ssd got {shapes}; expected {expected}")
    if B.shape[2] == 0 or x.shape[2] % B.shape[2]:
        raise ValueError(f"ssd got {shapes}; groups must divide heads, repeat B and C otherwise")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
