"""The one place that makes torchvision importable beside a torch of another build.

PyPI's torchvision for Linux is compiled against the CUDA build of torch. Beside a CPU build its
extension `_C` does not load, which torchvision itself forgives; but at import it registers a meta
kernel for `torchvision::nms`, an operator that only the extension defines, and dies with
"operator torchvision::nms does not exist" (pytorch/vision issues 9077 and 9085). We use models and
transforms, never box operators: their schemas alone are enough for the import to go through.
"""

import importlib
import importlib.machinery
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import torch

from model.errors import BackendUnavailable

log = logging.getLogger(__name__)

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a library undefines its operators when collected


def import_torchvision(submodule: str = "") -> ModuleType:
    """Import torchvision, or a submodule such as `models` or `transforms.v2`.

    Raises:
        BackendUnavailable: torchvision is not installed, or not usable with this torch.
    """
    if "torchvision" not in sys.modules:
        define_missing_operators()
    name = f"torchvision.{submodule}" if submodule else "torchvision"
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise BackendUnavailable(
            f"{name} can't be imported beside torch {torch.__version__}: {error}. "
            "Install the pair that umzero[train] pins"
        ) from error


def define_missing_operators() -> tuple[str, ...]:
    """Define the schemas that torchvision's import needs, where its extension doesn't load.

    Call it before torchvision is imported. Calling it again changes nothing.

    Returns:
        The names of the operators that were missing and are defined now.
    """
    if _load_extension():
        return ()
    missing = tuple(name for name in _SCHEMAS if not _exists(name))
    if missing:
        # A fragment, so that a torchvision that defines its namespace later is not in conflict.
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(_SCHEMAS[name])  # type: ignore[no-untyped-call]
        _libraries.append(library)
        log.debug("torchvision operators stubbed", extra={"operators": missing})
    return missing


def _exists(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


def _load_extension() -> bool:
    """Load `_C` as torchvision will; the loader caches it, so nothing is registered twice."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    finder = importlib.machinery.FileFinder(
        str(Path(spec.origin).parent),
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    extension = finder.find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
