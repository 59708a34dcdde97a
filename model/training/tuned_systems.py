"""The closed form and ESZSL on features of a fine-tuned backbone: systems for `umzero ablate`."""

from collections.abc import Hashable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from model.training.features import FeatureStore
from model.training.fine_tuning import FineTuning, features_of, fine_tune
from model.training.folds import FoldScores
from model.training.heads import GlobalHead, columns_of, fresh_network, training_images
from model.training.systems import SYSTEMS, Fold, Found, System


@lru_cache(maxsize=1)  # the systems of one fold share it
def _tuned(fold: Fold) -> dict[Hashable, Fold]:
    """(epochs, share of the way) -> the fold with that backbone's features."""
    task, model = fold.task, fold.config.model
    config = FineTuning(stage=model.hga.stages[0])
    without_mim = replace(model, mim=replace(model.mim, enabled=False))
    network = fresh_network(without_mim, fold.space, len(task.trained), fold.seed)
    candidates = fold.config.closed_form
    GlobalHead(network, fold.training).fit(
        _middle(candidates.image_ridges), _middle(candidates.class_ridges)
    )
    images = training_images(task.data, task.trained)
    rows = np.concatenate([fold.store.rows(images, view) for view in range(fold.views)])
    labels = torch.from_numpy(columns_of(task.data.labels[images], task.trained))
    sheets = torch.from_numpy(fold.data.class_attributes[list(task.trained)])
    with torch.no_grad():
        prototypes = network.prototypes(sheets)
    found: dict[Hashable, Fold] = {}
    for key in fine_tune(
        network,
        fold.store,
        rows,
        labels.repeat(fold.views),
        prototypes,
        config,
        fold.config.mim.temperature,
        fold.seed,
    ):
        read = np.concatenate([rows, task.images])
        store: FeatureStore = features_of(network, fold.store, read, config)
        found[key] = replace(fold, store=store)
    return found


def _middle(candidates: tuple[float, ...]) -> float:
    return sorted(candidates)[len(candidates) // 2]


def _on_tuned_features(system: System) -> System:
    def scored(fold: Fold) -> Found:
        found: dict[Hashable, FoldScores] = {}
        for way, tuned in _tuned(fold).items():
            found |= {(way, setting): scores for setting, scores in system(tuned).items()}
        return found

    return scored


TUNED: dict[str, System] = {
    f"fine-tuned: {title}": _on_tuned_features(SYSTEMS[name])
    for title, name in {"closed form": "without mim", "eszsl": "eszsl"}.items()
}
