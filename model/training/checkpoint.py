"""Networks and training states as safetensors: nothing is pickled, nothing half written."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.errors import WeightsError


def save_network(network: nn.Module, path: Path) -> None:
    """Write every parameter and buffer."""
    _save({k: v.contiguous() for k, v in network.state_dict().items()}, path, {})


def save_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, extra: dict[str, Any]
) -> None:
    """Write a resumable state: the network's parameters, the optimizer's moments, and `extra`."""
    tensors = {f"network/{k}": v.contiguous() for k, v in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(v) for name, v in moments.items()}
    _save(tensors, path, {"extra": json.dumps(extra)})


def load_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Read what `save_state` wrote into both; returns `extra`, or None where there is no file.

    Raises:
        WeightsError: the file is damaged, or another network's.
    """
    if not path.is_file():
        return None
    with _in_words(path):
        tensors = load_file(path)
        network.load_state_dict(
            {k.removeprefix("network/"): v for k, v in tensors.items() if k.startswith("network/")}
        )
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/")
                moments.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(
            {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    return read_extra(path)


def read_extra(path: Path) -> dict[str, Any] | None:
    """The `extra` of a state, its tensors left alone; None where there is no file.

    Raises:
        WeightsError: the file is damaged.
    """
    if not path.is_file():
        return None
    with _in_words(path), safe_open(path, "pt") as file:
        extra: dict[str, Any] = json.loads(file.metadata()["extra"])
    return extra


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    # Without metadata, or with another file's, there is no "extra".
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} can't be used as a training's state. Delete it, or train with --fresh, and "
            f"what it held is trained again: {error}"
        ) from error


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    temporary = path.with_suffix(".new")
    save_file(tensors, temporary, metadata=metadata)
    temporary.chmod(0o644)  # safetensors makes files that only their owner can read
    temporary.replace(path)
