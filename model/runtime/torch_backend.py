"""The network in PyTorch: on CUDA with mamba-ssm's kernels where they are, else plain torch.

How exactly it computes stands in `torch_precision`, how batches run in `torch_passes`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from model.bundle import Bundle
from model.config import ModelConfig
from model.errors import BackendUnavailable, DeviceOutOfMemory, WeightsError
from model.nn.umzero import AttributeLayout, UMZero
from model.runtime import bundle_file
from model.runtime.base import F32, U8, BackendInfo, Embedded
from model.runtime.torch_passes import SLOTS, Passes
from model.runtime.torch_precision import choose, prepare

WEIGHTS = "model.safetensors"


def load_network(bundle: Bundle) -> UMZero:
    """The bundle's network in eval mode, in float32 on the CPU.

    Raises:
        ConfigError: the manifest's network config isn't one of this version.
        WeightsError: the weights are missing, damaged or another network's.
    """
    manifest = bundle.manifest
    network = UMZero(
        ModelConfig.from_json(manifest.network),
        AttributeLayout.of(manifest.attributes),
        pretrained=False,
    )
    weights = bundle_file.content(bundle, WEIGHTS, "Get the bundle again, or train it again")
    try:
        network.load_state_dict(load(weights), strict=True)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{bundle.path / WEIGHTS} doesn't hold this bundle's weights. Get the bundle again, or "
            f"train it again: {error}"
        ) from error
    return network.eval()


class TorchBackend:
    """`model.runtime.base.Backend` on a torch device. The CUDA path has not been measured.

    Args:
        device: "cpu", "cuda" or "cuda:1".
        precision: of the backbone, "auto", "fp32", "bf16" or "fp16" (`torch_precision.choose`);
            what follows it is always in float32.
        threads: of one inference on a CPU; 0 leaves it to torch.
        sizes, slots: those of `torch_passes.Passes`.

    Raises:
        BackendUnavailable: no such device, or it doesn't have this precision.
        ConfigError, WeightsError: of `load_network`.
        DeviceOutOfMemory: the network doesn't fit, or not even one image.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str,
        precision: str,
        threads: int,
        *,
        sizes: Sequence[int] | None = None,
        slots: int = SLOTS,
    ) -> None:
        self._device = _device(device)
        chosen = choose(precision, self._device)
        if threads > 0:
            torch.set_num_threads(threads)
        if self._device.type == "cuda":
            # Shapes are few and fixed, so the fastest convolution is worth looking for; and fp32
            # means float32, not the 10 bits of TF32.
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = chosen != "fp32"
        loaded = load_network(bundle)
        try:
            network = prepare(loaded, chosen, self._device)
        except torch.OutOfMemoryError as error:
            raise DeviceOutOfMemory(
                f"{device} hasn't the memory for the network; free some, or use another device"
            ) from error
        manifest = bundle.manifest
        size = manifest.input_size
        self._info = BackendInfo(
            name="torch",
            device=device,
            precision=chosen,
            bundle=bundle.name,
            bundle_sha256=bundle.sha256,
            input_size=size,
            embedding_dim=manifest.embedding_dim,
            attribute_count=len(manifest.attributes),
            token_count=network.tokens,
            grid=manifest.grid,
        )
        passes = Passes(network, (size, size, 3), self._device, sizes=sizes, slots=slots)
        self._loaded: tuple[UMZero, Passes] | None = (network, passes)

    @property
    def info(self) -> BackendInfo:
        return self._info

    def embed(self, images: U8) -> Embedded:
        _, passes = self._open()
        size = self._info.input_size
        expected = (size, size, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"images are {images.dtype} {images.shape}; expected uint8 (B, {size}, {size}, 3)"
            )
        if not len(images):
            raise ValueError("there are no images; expected at least one")
        return Embedded(*passes.run(images))

    @torch.inference_mode()
    def prototypes(self, class_attributes: F32) -> F32:
        network, _ = self._open()
        count = self._info.attribute_count
        if class_attributes.ndim != 2 or class_attributes.shape[1] != count:
            raise ValueError(f"sheets have shape {class_attributes.shape}; expected (C, {count})")
        rows = torch.from_numpy(np.array(class_attributes, np.float32))
        result: F32 = network.prototypes(rows.to(self._device)).cpu().numpy()
        return result

    def close(self) -> None:
        self._loaded = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _open(self) -> tuple[UMZero, Passes]:
        if self._loaded is None:
            raise RuntimeError("the backend is closed")
        return self._loaded


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendUnavailable(f"torch knows no device {name!r}") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BackendUnavailable(f"device {name!r} was asked for, but torch sees no CUDA")
        if (device.index or 0) >= (count := torch.cuda.device_count()):
            raise BackendUnavailable(f"there is no {name!r}; torch sees {count} CUDA devices")
    return device
