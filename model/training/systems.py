"""What is compared in the folds: UMZero whole and without one part, ESZSL, a linear head.

Each system is trained on a fold's training images and scores its other images under several
settings; which setting counts is chosen on the other folds (`folds.Result.chosen`).
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.types import ZeroShotData
from model.nn.umzero import Features, UMZero
from model.nn.unit import unit_rows
from model.runtime.base import F32
from model.sheets import AttributeSpace
from model.training.baseline import (
    CLASS_RIDGES,
    IMAGE_RIDGES,
    Eszsl,
    baseline_features,
    rooted,
)
from model.training.config import TrainingConfig
from model.training.features import VIEWS, FeatureStore
from model.training.folds import FoldScores
from model.training.heads import (
    GlobalHead,
    TrainingSet,
    columns_of,
    fresh_network,
    global_embedding,
    mim_embedding,
    training_images,
    training_set,
)
from model.training.loop import train_mim
from model.training.losses import classification_loss
from model.training.selection import ValidationTask

Found = Mapping[Hashable, FoldScores]
System = Callable[["Fold"], Found]

LINEAR_EPOCHS = (2, 4, 8)
LINEAR_RATE = 3e-3
LINEAR_DECAY = 0.05
LINEAR_BATCH = 128


@dataclass(eq=False)
class Fold:
    """One fold of one seed, with what its systems share.

    Attributes:
        number: of the fold among those of its seed.
        folder: for states and for what MIM embedded.
        views: of each training image, that everything but the baselines is trained on.
    """

    task: ValidationTask
    number: int
    seed: int
    data: ZeroShotData
    space: AttributeSpace
    store: FeatureStore
    config: TrainingConfig
    folder: Path
    views: int = VIEWS

    @cached_property
    def whole(self) -> dict[tuple[float, float], Tensor]:
        """Ridges -> (N, D), the global head over pooled features and HGA."""
        return self._global(self.config.model)

    @cached_property
    def first_order(self) -> dict[tuple[float, float], Tensor]:
        """The same over pooled features alone."""
        hga = replace(self.config.model.hga, enabled=False)
        return self._global(replace(self.config.model, hga=hga))

    @cached_property
    def prototypes(self) -> Tensor:
        """(C, D)"""
        network = self._network(self.config.model)
        network.prototype_unit.start_from_classes(self._sheets(self.task.trained))
        return network.prototypes(self._sheets(self.task.classes)).detach()

    def local(self, contrastive: bool) -> dict[int, Tensor]:
        """Epochs -> (N, D), MIM alone."""
        mim = self.config.mim if contrastive else replace(self.config.mim, contrastive_weight=0.0)
        name = f"seed{self.seed}-fold{self.number}-contrastive{mim.contrastive_weight:g}"
        cached = self.folder / f"{name}.npy"
        if not cached.is_file():
            self._train_mim(replace(self.config, mim=mim), cached)
        return {epoch + 1: torch.from_numpy(rows) for epoch, rows in enumerate(np.load(cached))}

    def _train_mim(self, config: TrainingConfig, cached: Path) -> None:
        network, training = self._network(config.model), self.training
        network.prototype_unit.start_from_classes(training.class_attributes)
        assert network.mim is not None
        network.mim.scale_visual_tokens(training.features.maps)
        embedded: list[F32] = []
        state = cached.with_suffix(".safetensors")
        state.unlink(missing_ok=True)  # what earlier epochs embedded is not in it
        train_mim(
            network,
            training.features.maps,
            training.labels,
            training.class_attributes,
            config.mim,
            config.mim.epochs,
            self.seed,
            state,
            lambda *_: embedded.append(mim_embedding(network, self._scored).numpy()),
        )
        new = cached.with_suffix(".new.npy")
        np.save(new, np.stack(embedded))
        new.replace(cached)
        state.unlink(missing_ok=True)

    def _global(self, model: ModelConfig) -> dict[tuple[float, float], Tensor]:
        network = self._network(model)
        head = GlobalHead(network, self.training)
        found = {}
        candidates = self.config.closed_form
        for ridges in product(candidates.image_ridges, candidates.class_ridges):
            head.fit(*ridges)
            found[ridges] = global_embedding(network, self._scored)
        return found

    @cached_property
    def training(self) -> TrainingSet:
        return training_set(self.task.data, self.store, self.task.trained, self.views)

    @cached_property
    def _scored(self) -> Features:
        return self.store.read(self.task.images)

    def _network(self, model: ModelConfig) -> UMZero:
        return fresh_network(model, self.space, len(self.task.trained), self.seed, pretrained=False)

    def _sheets(self, classes: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.data.class_attributes[list(classes)])


def _scored(fold: Fold, embedding: Tensor) -> FoldScores:
    scores: F32 = (embedding @ fold.prototypes.T).numpy()
    return FoldScores.of(scores, fold.task)


def _with_mim(
    fold: Fold, whole: Mapping[tuple[float, float], Tensor], contrastive: bool = True
) -> Found:
    local = fold.local(contrastive)
    settings = product(whole, local, fold.config.mim.weights)
    return {
        (*ridges, epoch, weight): _scored(fold, unit_rows(whole[ridges] + weight * local[epoch]))
        for ridges, epoch, weight in settings
    }


def _eszsl(fold: Fold) -> Found:
    task = fold.task
    one_view = rooted(fold.store.read_pooled(np.arange(len(task.data.images))))
    features = one_view.clone()
    train = task.data.train
    features[train] = baseline_features(*(fold.store.read_pooled(train, v) for v in range(VIEWS)))
    system = Eszsl(task.data, fold.space, features, task.trained)
    return {
        ridges: FoldScores.of(
            system.logits(task.images, task.classes, *ridges, features=one_view), task
        )
        for ridges in product(IMAGE_RIDGES, CLASS_RIDGES)
    }


def _linear(fold: Fold) -> Found:
    """A linear map of the pooled features, trained by gradient to classify by the prototypes."""
    task = fold.task
    images = training_images(task.data, task.trained)
    labels = torch.from_numpy(columns_of(task.data.labels[images], task.classes)).repeat(VIEWS)
    rows = torch.cat([rooted(fold.store.read_pooled(images, view)) for view in range(VIEWS)])
    centre = rows.mean(dim=0)
    scored = rooted(fold.store.read_pooled(task.images))
    prototypes = fold.prototypes[: len(fold.task.trained)]
    torch.manual_seed(fold.seed)
    head = torch.nn.Linear(rows.shape[1], prototypes.shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=LINEAR_RATE, weight_decay=LINEAR_DECAY)
    found: dict[Hashable, FoldScores] = {}
    for epoch in range(1, LINEAR_EPOCHS[-1] + 1):
        for batch in torch.split(torch.randperm(len(rows)), LINEAR_BATCH):
            embedding = unit_rows(head(rows[batch] - centre))
            loss = classification_loss(
                embedding, labels[batch], prototypes, fold.config.mim.temperature
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if epoch in LINEAR_EPOCHS:
            with torch.no_grad():
                found[epoch] = _scored(fold, unit_rows(head(scored - centre)))
    return found


SYSTEMS: dict[str, System] = {
    "umzero": lambda fold: _with_mim(fold, fold.whole),
    "without hga": lambda fold: _with_mim(fold, fold.first_order),
    "without mim": lambda fold: {key: _scored(fold, rows) for key, rows in fold.whole.items()},
    "without contrastive": lambda fold: _with_mim(fold, fold.whole, contrastive=False),
    "eszsl": _eszsl,
    "linear": _linear,
}
