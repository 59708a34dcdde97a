"""Whether a bundle came out of a training: what validation decides is of no use to another one."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from model.bundle import Bundle
from model.data.problems import few
from model.errors import ConfigError
from model.nn.umzero import UMZero
from model.training.evaluate import mismatches
from model.training.selection import Choice
from model.training.training_run import TrainingRun

ROUNDING = 1e-3  # relative: another machine adds in another order


def check_same_training(bundle: Bundle, run: TrainingRun, network: UMZero) -> None:
    """Before anything is computed.

    Args:
        network: what the run starts from.

    Raises:
        ConfigError: the bundle is of other data, another recipe, seed or options.
    """
    told = {"network": network.config.to_json(), **run.told}
    del told["data"]  # the name of a folder, which may have moved
    _refuse(bundle, mismatches(bundle, run.data) + _differences(bundle, told))


def check_same_choice(bundle: Bundle, choice: Choice) -> None:
    """
    Raises:
        ConfigError: the bundle was made of another choice on the validation classes.
    """
    _refuse(bundle, _differences(bundle, {"chosen_on_validation": asdict(choice)}))


def _refuse(bundle: Bundle, problems: list[str]) -> None:
    if problems:
        raise ConfigError(
            f"{bundle.path} is of another training: {few(problems)}. Give the recipe, the data and "
            "the seed that it was trained with; one that was trained with other options, such as "
            "--no-mim, can only be trained again"
        )


def _differences(bundle: Bundle, told: dict[str, Any]) -> list[str]:
    manifest = bundle.manifest
    theirs = dict(_leaves({"network": manifest.network, **manifest.training}))
    ours = _leaves(json.loads(json.dumps(told)))  # as a manifest has it
    return [
        f"{key} is {theirs.get(key)} in the bundle, {value} here"
        for key, value in ours
        if not _equal(value, theirs.get(key))
    ]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING)
    return bool(one == other)


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("network.hga.enabled", True), and so on."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
