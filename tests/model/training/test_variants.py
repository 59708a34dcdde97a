"""What a fold is changed into, for each system that is a variant of another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.read import read
from model.data.types import ZeroShotData
from model.training.config import TrainingConfig
from model.training.folds import folds
from model.training.systems import SYSTEMS, Fold
from model.training.training_run import attribute_space
from model.training.variants import VARIANTS

CLOSED_FORM = [name for name in VARIANTS if name.startswith("closed form")]


@pytest.fixture
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


@pytest.fixture
def fold(data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path) -> Fold:
    task, store = folds(data, 3, 0)[0], None
    unread: Any = store
    return Fold(task, 0, 0, data, attribute_space(data), unread, small_config, tmp_path)


@pytest.fixture
def changed(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> dict[str, Fold]:
    """Variant -> the fold that it hands on."""
    seen: list[Fold] = []
    for name in ("umzero", "without mim"):
        monkeypatch.setitem(SYSTEMS, name, lambda fold: seen.append(fold) or {})
    for variant in VARIANTS.values():
        variant(fold)
    return dict(zip(VARIANTS, seen, strict=True))


def test_a_variant_is_the_closed_form_in_a_changed_fold(
    fold: Fold, changed: dict[str, Fold]
) -> None:
    assert changed["closed form: photographs alone"].views == 1
    assert changed["closed form: 2 iterations"].config.model.hga.iterations == 2
    assert changed["closed form: exponent 0.7"].config.model.prototypes.exponent == 0.7
    folds_ = (fold, *(changed[name] for name in CLOSED_FORM))
    assert len({(repr(f.config), f.views) for f in folds_}) == 1 + len(CLOSED_FORM)


def test_a_sheet_of_some_groups_takes_the_trained_classes_mean_in_the_others(
    fold: Fold, changed: dict[str, Fold]
) -> None:
    trained = list(fold.task.trained)
    held_out = [c for c in fold.task.classes if c not in fold.task.trained]
    before = fold.data.class_attributes
    mean = before[trained].mean(axis=0)
    groups = np.array(fold.space.groups)
    for name, share in (("half", 0.5), ("three quarters", 0.75), ("a tenth", 0.1)):
        after = changed[f"sheet: {name} of the groups"].data.class_attributes
        np.testing.assert_array_equal(after[trained], before[trained])
        count = max(1, round(share * len(set(groups))))
        for row in held_out:
            kept = {
                g
                for g in groups
                if np.array_equal(after[row, groups == g], before[row, groups == g])
            }
            assert len(kept) == count
            others = ~np.isin(groups, list(kept))
            np.testing.assert_allclose(after[row, others], mean[others], rtol=1e-4)


def test_a_sheet_of_one_choice_a_group_keeps_the_highest_value_alone(
    fold: Fold, changed: dict[str, Fold]
) -> None:
    groups = np.array(fold.space.groups)
    before = fold.data.class_attributes
    after = changed["sheet: one choice a group"].data.class_attributes
    for row in set(fold.task.classes) - set(fold.task.trained):
        for group in set(groups):
            members = np.flatnonzero(groups == group)
            if len(members) > 1:
                highest = members[before[row, members].argmax()]
                expected = fold.space.minimum[members].copy()
                expected[members == highest] = fold.space.maximum[highest]
                np.testing.assert_array_equal(after[row, members], expected)
