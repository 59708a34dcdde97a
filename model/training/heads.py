"""Fits everything that follows the frozen backbone, for a given set of training classes.

Used twice in a run: without the validation classes, to choose; with all seen classes, to keep.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import ModelConfig
from model.data.types import ZeroShotData
from model.nn.umzero import AttributeLayout, Features, UMZero
from model.sheets import AttributeSpace
from model.training.closed_form import Ridge, class_side, one_against_rest
from model.training.features import VIEWS, FeatureStore

CHUNK = 256  # images at a time through HGA


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The training images of some classes, in all views."""

    features: Features  # (V N, ...)
    labels: Tensor  # (V N,), rows of class_attributes
    class_attributes: Tensor  # (C, A)
    views: int = VIEWS  # V


def fresh_network(
    model: ModelConfig, space: AttributeSpace, classes: int, seed: int, pretrained: bool = True
) -> UMZero:
    """An untrained network whose embedding is no wider than its training classes can span."""
    span = min(model.prototypes.embedding_dim, classes - 1, len(space))
    model = replace(model, prototypes=replace(model.prototypes, embedding_dim=span))
    torch.manual_seed(seed)
    return UMZero(model, AttributeLayout.of(space), pretrained).eval()


def training_images(data: ZeroShotData, classes: tuple[int, ...]) -> NDArray[np.int64]:
    """The training images whose class is among `classes`."""
    return data.train[np.isin(data.labels[data.train], classes)]


def training_set(
    data: ZeroShotData, store: FeatureStore, classes: tuple[int, ...], count: int = VIEWS
) -> TrainingSet:
    """The first `count` views of the training images whose class is among `classes`."""
    images = training_images(data, classes)
    labels = torch.from_numpy(columns_of(data.labels[images], classes))
    views = [store.read(images, view) for view in range(count)]
    return TrainingSet(
        Features(
            torch.cat([v.pooled for v in views]),
            {stage: torch.cat([v.maps[stage] for v in views]) for stage in views[0].maps},
        ),
        labels.repeat(count),
        torch.from_numpy(data.class_attributes[list(classes)]),
        count,
    )


class GlobalHead:
    """The closed-form start: centres, HGA's reduction and ESZSL, over one training set.

    Building it sets `network`'s centres, HGA and prototype unit; `fit` sets the global head.
    """

    @torch.no_grad()
    def __init__(self, network: UMZero, training: TrainingSet) -> None:
        self.network = network
        self.labels = training.labels
        network.eval()
        network.prototype_unit.start_from_classes(training.class_attributes)
        network.pooled_mean.copy_(network.first_order(training.features.pooled).mean(dim=0))
        if network.hga is not None:
            once = len(training.labels) // training.views  # the photographs as they are
            for stage in network.hga.stages:
                network.hga.reduction(stage).start_from_pca(training.features.maps[stage][:once])
            network.hga.mean.zero_()
            total = sum(network.hga(part.maps).sum(dim=0) for part in chunks(training.features))
            network.hga.mean.copy_(total / len(training.labels))
        self.ridge = Ridge(
            torch.cat([network.global_features(part) for part in chunks(training.features)])
        )
        self.class_rows = network.prototype_unit.normalise(training.class_attributes)

    @torch.no_grad()
    def fit(self, image_ridge: float, class_ridge: float) -> None:
        """Solve for the global head."""
        project = self.network.prototype_unit.project.weight.double()  # (D, A)
        targets = one_against_rest(self.labels, len(self.class_rows)) @ (
            class_side(self.class_rows, class_ridge) @ project.T
        )
        weight = self.ridge.solve(targets, image_ridge).T  # (D, F)
        self.network.global_head.weight.copy_(weight / weight.norm() * len(weight) ** 0.5)


@torch.no_grad()
def fit_attribute_head(network: UMZero, training: TrainingSet, ridge: float = 1.0) -> None:
    """Regress the sheets' values on the embedding, for the attribute scores of an image.

    Lower than the sheets' own spread where the image says little: least squares shrinks.
    """
    embedding = embed(network, training.features)
    sheets = training.class_attributes[training.labels].double()
    mean = sheets.mean(dim=0)
    weight = Ridge(embedding - embedding.mean(dim=0)).solve(sheets - mean, ridge).T  # (A, D)
    network.attribute_head.weight.copy_(weight)
    network.attribute_head.bias.copy_(mean - weight @ embedding.mean(dim=0).double())


@torch.no_grad()
def embed(network: UMZero, features: Features) -> Tensor:
    """(N, D) unit rows."""
    return torch.cat([network.head(part).embedding for part in chunks(features)])


@torch.no_grad()
def global_embedding(network: UMZero, features: Features) -> Tensor:
    """(N, D) unit rows, of the global head alone."""
    return torch.cat([network.global_embedding(part) for part in chunks(features)])


@torch.no_grad()
def mim_embedding(network: UMZero, features: Features) -> Tensor:
    """(N, D) unit rows, of MIM alone, which may be on a GPU; they aren't."""
    assert network.mim is not None
    device = network.mim_weight.device
    return torch.cat(
        [
            network.local_embedding(network.mim(part.to(device).maps).slots).cpu()
            for part in chunks(features)
        ]
    )


def chunks(features: Features) -> Iterator[Features]:
    for start in range(0, len(features.pooled), CHUNK):
        yield features.rows(slice(start, start + CHUNK))


def columns_of(labels: NDArray[np.int64], classes: tuple[int, ...]) -> NDArray[np.int64]:
    """Class indices -> columns of a score matrix whose columns are `classes`."""
    column = {c: i for i, c in enumerate(classes)}
    return np.array([column[int(c)] for c in labels], np.int64)
