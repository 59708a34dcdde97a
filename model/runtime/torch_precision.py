"""How exactly torch computes: the backbone in 16 bits, if asked, and all that follows in float32.

The backbone is nearly all of the work and is trained by noise worse than rounding. What follows is
not: HGA takes roots of covariances with tiny eigenvalues, and MIM multiplies decays over hundreds
of steps. So only the backbone's convolutions run in bf16 or fp16, and its maps leave as float32.
"""

import torch
from torch import Tensor, nn

from model.errors import BackendUnavailable
from model.nn.backbone import Backbone, fold_batch_norm
from model.nn.umzero import UMZero

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose(precision: str, device: torch.device) -> str:
    """Turn "auto" into what a device is good at, and refuse what it can't do.

    Returns:
        "fp32", "bf16" or "fp16". Of "auto": fp32 on a CPU; on CUDA bf16 where the device has it,
        else fp16.

    Raises:
        BackendUnavailable
    """
    on_cuda = device.type == "cuda"
    if precision == "auto":
        if not on_cuda:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision not in _DTYPES:
        raise BackendUnavailable(
            f"the torch backend runs auto, {', '.join(_DTYPES)}, not {precision!r}; "
            "int8 is the ONNX backend's, on a CPU"
        )
    if precision == "fp16" and not on_cuda:
        raise BackendUnavailable("fp16 needs a CUDA device; a CPU runs fp32 or bf16")
    return precision


def prepare(network: UMZero, precision: str, device: torch.device) -> UMZero:
    """Make a network ready to serve, in place: on its device, its backbone fast, all else float32.

    Args:
        precision: of `choose`.
    """
    dtype = _DTYPES[precision]
    folded = fold_batch_norm(network.backbone)
    assert isinstance(folded, Backbone)
    if dtype != torch.float32:
        folded = _Reduced(folded, dtype, device)
    network.backbone = folded
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


class _Reduced(Backbone):
    """A backbone whose convolutions run in 16 bits; images come and maps go as float32."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.channels, self.grids = backbone.channels, backbone.grids
        self.inner = backbone
        self.dtype = dtype
        self.device_type = device.type
        # Autocast would turn the weights anew in every pass. Other modules keep float32: the
        # normalised image is rounded once, where it enters the first convolution.
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        # The cache would hold tensors of a CUDA graph's memory.
        with torch.autocast(self.device_type, self.dtype, cache_enabled=False):
            maps = self.inner(images)
        return tuple(stage.float() for stage in maps)
