"""State space duality by mamba-ssm's fused kernel where there is one, else by the reference.

The only place that imports mamba_ssm, and only inside a function: the package builds only beside
CUDA, and importing it costs seconds.

Source: state-spaces/mamba, mamba_ssm/ops/triton/ssd_combined.py, `mamba_chunk_scan_combined`.
"""

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from model.errors import BackendUnavailable
from model.nn.ssd import in_scanning_order, ssd

log = logging.getLogger(__name__)

_SMALLEST_CHUNK = 16  # Triton's tl.dot takes no smaller side
_LARGEST_CHUNK = 256  # what mamba-ssm's own layers use
_FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def fused_available() -> bool:
    """Whether tensors on CUDA would take the fused kernel here."""
    return torch.cuda.is_available() and _fused_kernel() is not None


def ssd_auto(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int = 64, backward: int = 0
) -> Tensor:
    """`model.nn.ssd.ssd` by the fastest means that computes it; the same shapes and errors.

    The fused kernel takes tensors on CUDA, in float32 (its products are TF32), float16 or bfloat16,
    when mamba-ssm is installed and no graph is being exported or traced.
    """
    if _is_fusible(x) and _fused_kernel() is not None:
        return ssd_fused(x, dt, A, B, C, chunk, backward)
    return ssd(x, dt, A, B, C, chunk, backward)


def ssd_fused(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int = 64, backward: int = 0
) -> Tensor:
    """`model.nn.ssd.ssd` by mamba-ssm's kernel; `chunk` is rounded up to a power of two.

    Raises:
        BackendUnavailable: mamba-ssm is not installed, or not usable.
    """
    kernel = _fused_kernel()
    if kernel is None:
        raise BackendUnavailable(
            "mamba-ssm can't be imported: install umzero[cuda] where nvcc and CUDA are, "
            "or use model.nn.ssd.ssd, which computes the same"
        )
    power_of_two = 1 << max(chunk - 1, 1).bit_length()
    scan = functools.partial(
        kernel,
        chunk_size=min(max(power_of_two, _SMALLEST_CHUNK), _LARGEST_CHUNK),
        D=None,
        z=None,
        dt_bias=None,
        dt_softplus=False,
    )
    B, C = B.to(x.dtype), C.to(x.dtype)
    return in_scanning_order(scan, x, dt.float(), A.float(), B, C, backward)


def _is_fusible(x: Tensor) -> bool:
    is_traced = torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None
    return x.is_cuda and x.dtype in _FUSED_DTYPES and x.numel() > 0 and not is_traced


@functools.cache
def _fused_kernel() -> Callable[..., Tensor] | None:
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError, RuntimeError) as error:
        # Installed, but built for another torch or CUDA: slow, and someone wants to know why.
        log.warning("mamba_ssm unusable", extra={"reason": str(error)})
        return None
    kernel: Callable[..., Tensor] = mamba_chunk_scan_combined
    return kernel
