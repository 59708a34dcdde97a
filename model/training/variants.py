"""The closed form changed, and sheets that say less: systems for `umzero ablate --only`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from model.runtime.base import F32
from model.sheets import AttributeSpace, Sheet, fill
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


def _less_said(shorten: Callable[[F32, AttributeSpace, np.random.Generator], Sheet]) -> System:
    """The whole, where the pseudo-unseen classes' sheets are filled as the service fills them."""

    def scored(fold: Fold) -> Found:
        trained, data = list(fold.task.trained), fold.data
        space = replace(fold.space, mean=data.class_attributes[trained].mean(axis=0))
        draw = np.random.default_rng((fold.seed, fold.number))
        sheets = data.class_attributes.copy()
        for held_out in sorted(set(fold.task.classes) - set(trained)):
            sheets[held_out] = fill(shorten(sheets[held_out], space, draw), space).values
        return SYSTEMS["umzero"](replace(fold, data=replace(data, class_attributes=sheets)))

    return scored


def _some_groups(share: float) -> System:
    def shorten(row: F32, space: AttributeSpace, draw: np.random.Generator) -> Sheet:
        groups = list(space.members)
        given = draw.choice(len(groups), max(1, round(share * len(groups))), replace=False)
        return {
            space.names[i]: float(row[i]) for g in given for i in space.members[groups[g]].values()
        }

    return _less_said(shorten)


def _one_choice(row: F32, space: AttributeSpace, _: np.random.Generator) -> Sheet:
    return {
        group: max(members, key=lambda value: row[members[value]])
        for group, members in space.members.items()
        if len(members) > 1
    }


VARIANTS: dict[str, System] = {
    "closed form: photographs alone": _variant(lambda fold: replace(fold, views=1)),
    "closed form: blocks 10 and 15": _hga(stages=("block10", "block15"), channels=(64, 64)),
    "closed form: 48 channels": _hga(channels=(48, 48, 48)),
    "closed form: 96 channels": _hga(channels=(96, 96, 96)),
    "closed form: 2 iterations": _hga(iterations=2),
    "closed form: 7 iterations": _hga(iterations=7),
    "closed form: exponent 0.5": _exponent(0.5),
    "closed form: exponent 0.7": _exponent(0.7),
    "sheet: a tenth of the groups": _some_groups(0.1),
    "sheet: a quarter of the groups": _some_groups(0.25),
    "sheet: half of the groups": _some_groups(0.5),
    "sheet: three quarters of the groups": _some_groups(0.75),
    "sheet: one choice a group": _less_said(_one_choice),
}
