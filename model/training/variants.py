"""What else was tried on the closed form: systems for `umzero ablate --only`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from model.training.systems import SYSTEMS, Fold, Found, System

CLOSED_FORM = "without mim"


def _variant(change: Callable[[Fold], Fold]) -> System:
    """The closed form in a fold that was changed."""

    def scored(fold: Fold) -> Found:
        return SYSTEMS[CLOSED_FORM](change(fold))

    return scored


def _hga(**changes: Any) -> System:
    return _variant(lambda fold: _model(fold, hga=replace(fold.config.model.hga, **changes)))


def _exponent(value: float) -> System:
    return _variant(
        lambda fold: _model(fold, prototypes=replace(fold.config.model.prototypes, exponent=value))
    )


def _model(fold: Fold, **parts: Any) -> Fold:
    return replace(fold, config=replace(fold.config, model=replace(fold.config.model, **parts)))


VARIANTS: dict[str, System] = {
    "closed form: photographs alone": _variant(lambda fold: replace(fold, views=1)),
    "closed form: blocks 10 and 15": _hga(stages=("block10", "block15"), channels=(64, 64)),
    "closed form: 48 channels": _hga(channels=(48, 48, 48)),
    "closed form: 96 channels": _hga(channels=(96, 96, 96)),
    "closed form: 2 iterations": _hga(iterations=2),
    "closed form: 7 iterations": _hga(iterations=7),
    "closed form: exponent 0.5": _exponent(0.5),
    "closed form: exponent 0.7": _exponent(0.7),
}
