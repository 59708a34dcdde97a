"""Chooses one backend and imports it, and only it."""

from model.bundle import Bundle
from model.errors import BackendUnavailable
from model.runtime.base import Backend

KINDS = ("auto", "onnx", "torch")


def load(
    bundle: Bundle, device: str, precision: str, threads: int, kind: str = "auto", lanes: int = 1
) -> Backend:
    """Load a bundle's network.

    Args:
        device: "cpu", or one of torch's ("cuda", "cuda:1").
        precision: "fp32", "int8" (ONNX Runtime only), "bf16", "fp16" (torch only), or "auto": int8
            where the bundle has a graph for it that its manifest shows good enough, see
            `model.runtime.precision`; 16 bits on CUDA.
        threads: of an inference that runs alone on a CPU; 0 leaves it to the backend.
        kind: "onnx", "torch", or "auto": torch for CUDA, else ONNX Runtime.
        lanes: how many inferences will run side by side.

    Raises:
        BackendUnavailable: no such backend, or it can't run here.
        WeightsError: the bundle is incomplete or damaged.
    """
    if kind not in KINDS:
        raise BackendUnavailable(f"no backend is called {kind!r}; there are {', '.join(KINDS)}")
    on_cuda = device.startswith("cuda")
    if device != "cpu" and not on_cuda:
        raise BackendUnavailable(f"device {device!r} is neither cpu nor cuda")
    if kind == "onnx" and on_cuda:
        raise BackendUnavailable("the ONNX backend runs on the CPU; use backend torch for CUDA")
    if kind == "torch" or on_cuda:
        return _torch(bundle, device, precision, threads)
    from model.runtime.onnx_backend import OnnxBackend  # noqa: PLC0415

    return OnnxBackend(bundle, threads, precision, lanes)


def _torch(bundle: Bundle, device: str, precision: str, threads: int) -> Backend:
    try:
        from model.runtime.torch_backend import TorchBackend  # noqa: PLC0415
    except ImportError as error:
        raise BackendUnavailable(
            f"the torch backend needs an extra ({error}): pip install 'umzero[train]'"
        ) from error
    return TorchBackend(bundle, device, precision, threads)
