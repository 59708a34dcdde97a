"""The classical baseline beside which every result is shown: ESZSL on frozen pooled features.

Features: square root and unit length, mean of the photo and its mirror image. Sheets: shares within
each group, square root, centred and unit length over the training classes. Ridges and gamma are
chosen on the validation classes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.data.types import ZeroShotData
from model.metrics import best_gamma, czsl, gzsl
from model.nn.prototypes import PrototypeUnit
from model.runtime.base import F32
from model.sheets import AttributeSpace
from model.training.closed_form import Ridge, eszsl
from model.training.heads import columns_of, training_images
from model.training.selection import validation_task

IMAGE_RIDGES = (0.3, 1.0, 3.0, 10.0)
CLASS_RIDGES = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Scores:
    """Fractions in [0, 1]; averages over classes."""

    czsl: float
    u: float
    s: float
    h: float


def rooted(pooled: Tensor) -> Tensor:
    """(N, C) pooled maps -> their square roots, unit rows."""
    return functional.normalize(pooled.clamp_min(1e-12).sqrt(), dim=-1)


def baseline_features(pooled: Tensor, other: Tensor) -> Tensor:
    """(N, C) pooled maps of photos and of another view of each -> (N, C)."""
    return (rooted(pooled) + rooted(other)) / 2


@torch.no_grad()
def baseline_scores(data: ZeroShotData, space: AttributeSpace, features: Tensor) -> Scores:
    """Score ESZSL on the test images.

    Args:
        features: (N, C) of all images of the data set, from `baseline_features`.
    """
    task = validation_task(data)
    tuned = Eszsl(task.data, space, features, task.trained)
    unseen = ~task.is_seen[task.truth]

    def merit(ridges: tuple[float, float]) -> tuple[float, float]:
        logits = tuned.logits(task.images, task.classes, *ridges)
        gamma = best_gamma(logits, task.truth, task.is_seen)
        h = gzsl(logits, task.truth, task.is_seen, gamma)[2]
        czsl_ = czsl(logits[unseen], task.truth[unseen], np.flatnonzero(~task.is_seen))
        return (czsl_ + h) / 2, gamma

    ridges = max(product(IMAGE_RIDGES, CLASS_RIDGES), key=lambda pair: merit(pair)[0])
    gamma = merit(ridges)[1]
    final = Eszsl(data, space, features, data.seen)
    images = np.concatenate([data.test_seen, data.test_unseen])
    classes = (*data.seen, *data.unseen)
    return scores(
        final.logits(images, classes, *ridges),
        columns_of(data.labels[images], classes),
        np.isin(classes, data.seen),
        gamma,
    )


def scores(
    logits: F32, truth: NDArray[np.int64], is_seen: NDArray[np.bool_], gamma: float
) -> Scores:
    """CZSL, U, S and H of (N, C) logits whose (N,) truth are columns."""
    unseen = ~is_seen[truth]
    return Scores(
        czsl(logits[unseen], truth[unseen], np.flatnonzero(~is_seen)),
        *gzsl(logits, truth, is_seen, gamma),
    )


class Eszsl:
    """ESZSL over some training classes.

    Args:
        features: (N, C) of all images of the data set, from `baseline_features`.
        trained: the classes.
    """

    def __init__(
        self,
        data: ZeroShotData,
        space: AttributeSpace,
        features: Tensor,
        trained: tuple[int, ...],
    ) -> None:
        images = training_images(data, trained)
        self.mean = features[images].mean(dim=0)
        self.centred = features - self.mean
        self.ridge = Ridge(self.centred[images])
        self.labels = torch.from_numpy(columns_of(data.labels[images], trained))
        unit = PrototypeUnit(
            space.tokens,
            torch.from_numpy(space.minimum),
            torch.from_numpy(space.maximum),
            embedding_dim=1,
            exponent=0.5,
        )
        sheets = torch.from_numpy(data.class_attributes)
        unit.start_from_classes(sheets[list(trained)])
        self.rows = unit.normalise(sheets)
        self.trained = trained

    def logits(
        self,
        images: NDArray[np.int64],
        classes: tuple[int, ...],
        image_ridge: float,
        class_ridge: float,
        features: Tensor | None = None,
    ) -> F32:
        """(images, classes); `features`, (N, C), in place of those that it was trained on."""
        rows_of = self.centred if features is None else features - self.mean
        weights = eszsl(
            self.ridge, self.labels, self.rows[list(self.trained)], image_ridge, class_ridge
        )
        rows = self.rows[list(classes)].double()
        return (rows_of[images].double() @ weights @ rows.T).numpy().astype(np.float32)
