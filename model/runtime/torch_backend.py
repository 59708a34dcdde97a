"""The network in PyTorch: on CUDA with mamba-ssm's kernels where they are, else plain torch."""

import numpy as np
import torch
from safetensors.torch import load_file

from model.bundle import Bundle
from model.config import ModelConfig
from model.errors import BackendUnavailable, WeightsError
from model.nn.umzero import AttributeLayout, UMZero
from model.runtime.base import F32, U8, BackendInfo, Embedded

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
    path = bundle.path / WEIGHTS
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} doesn't hold this bundle's weights: {error}") from error
    return network.eval()


class TorchBackend:
    """`model.runtime.base.Backend` on a torch device, in float32."""

    def __init__(self, bundle: Bundle, device: str, precision: str, threads: int) -> None:
        if precision not in ("auto", "fp32"):
            raise BackendUnavailable(f"the torch backend runs fp32, not {precision!r}")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendUnavailable(f"device {device!r} was asked for, but torch sees no CUDA")
        if threads > 0:
            torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._network = load_network(bundle).to(self._device)
        manifest = bundle.manifest
        self._info = BackendInfo(
            name="torch",
            device=device,
            precision="fp32",
            bundle=bundle.name,
            bundle_sha256=bundle.sha256,
            input_size=manifest.input_size,
            embedding_dim=manifest.embedding_dim,
            attribute_count=len(manifest.attributes),
            token_count=self._network.tokens,
            grid=manifest.grid,
        )

    @property
    def info(self) -> BackendInfo:
        return self._info

    @torch.inference_mode()
    def embed(self, images: U8) -> Embedded:
        output = self._network(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
        return Embedded(*(part.float().cpu().numpy() for part in output))

    @torch.inference_mode()
    def prototypes(self, class_attributes: F32) -> F32:
        rows = torch.from_numpy(np.ascontiguousarray(class_attributes, np.float32))
        result: F32 = self._network.prototypes(rows.to(self._device)).float().cpu().numpy()
        return result

    def close(self) -> None:
        del self._network
