"""Every choice of a run, made on the validation classes: classes that the final network is trained
on, held out here to stand for unseen ones. No image and no class of the test sets is read."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from model.data.types import ZeroShotData
from model.metrics import best_gamma, czsl, gzsl
from model.nn.umzero import Features, UMZero
from model.runtime.base import F32
from model.scoring import calibrated_stacking, softmax
from model.training.config import TrainingConfig
from model.training.features import FeatureStore
from model.training.heads import (
    GlobalHead,
    columns_of,
    global_embedding,
    mim_embedding,
    training_set,
)
from model.training.history import Watch
from model.training.loop import train_mim
from model.training.processes import ALONE, Processes

GAMMA_DRAWS = 20
NOISE = 0.01  # of a merit on one split
# Of MIM in what is trained: below, it decides fewer than one photograph in twenty, which over folds
# is no better.
LEAST_WEIGHT = 0.7
HELD_OUT = 5  # one in so many training images of each class stands for the test-seen images
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.01, 0.3, 25))

_EMBEDDED = "validation-{}.npy"  # by the global head, and by MIM after each epoch

Report = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What was chosen. `gamma` is in units of cosines; `czsl` and `h` are validation's."""

    image_ridge: float
    class_ridge: float
    gamma: float
    temperature: float
    czsl: float
    h: float
    epochs: int = 0
    mim_weight: float = 0.0

    def __str__(self) -> str:
        return (
            f"validation CZSL {self.czsl:.3f}, H {self.h:.3f} (image ridge {self.image_ridge:g}, "
            f"class ridge {self.class_ridge:g}, MIM's weight {self.mim_weight:g})"
        )

    @property
    def merit(self) -> float:
        """What is maximised."""
        return (self.czsl + self.h) / 2


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """Zero-shot classification inside the training data."""

    data: ZeroShotData  # its `train` lacks the held-out images
    classes: tuple[int, ...]  # trained on, then validation classes: the columns
    trained: tuple[int, ...]
    images: NDArray[np.int64]  # scored
    truth: NDArray[np.int64]  # (N,), columns
    is_seen: NDArray[np.bool_]  # (C,)


def validation_task(data: ZeroShotData) -> ValidationTask:
    """`held_out_task` of the validation classes."""
    return held_out_task(data, data.validation)


def held_out_task(data: ZeroShotData, pseudo_unseen: tuple[int, ...]) -> ValidationTask:
    """Split the seen classes' training images: held-out classes, held-out images, the rest.

    Args:
        pseudo_unseen: the seen classes to hold out.
    """
    trained = tuple(c for c in data.seen if c not in pseudo_unseen)
    held = np.concatenate([data.train[data.labels[data.train] == c][::HELD_OUT] for c in trained])
    unseen_images = data.train[np.isin(data.labels[data.train], pseudo_unseen)]
    images = np.concatenate([held, unseen_images])
    classes = (*trained, *pseudo_unseen)
    return ValidationTask(
        data=replace(data, train=np.setdiff1d(data.train, held)),
        classes=classes,
        trained=trained,
        images=images,
        truth=columns_of(data.labels[images], classes),
        is_seen=np.isin(classes, trained),
    )


def choose(
    network: UMZero,
    data: ZeroShotData,
    store: FeatureStore,
    config: TrainingConfig,
    folder: Path,
    report: Report = lambda _: None,
    watch: Watch = lambda _: None,
    processes: Processes = ALONE,
) -> Choice:
    """Train without the validation classes, score them, and pick.

    With `config.mim.patience`, MIM's training ends once so many epochs in a row were no better.

    Args:
        network: changed in place; its state afterwards means nothing.
        folder: for MIM's resumable states.
        report: told of each finished step, in a line.
        watch, processes: see `train_mim`.
    """
    task = validation_task(data)
    training = training_set(task.data, store, task.trained)
    share = processes.share(torch.arange(len(task.images)))
    scored = store.read(task.images[share.numpy()])
    head = GlobalHead(network, training)
    prototypes = network.prototypes(
        torch.from_numpy(data.class_attributes[list(task.classes)])
    ).detach()

    def embedded(by: Callable[[UMZero, Features], Tensor]) -> Tensor:
        return processes.gather(by(network, scored), len(task.images))

    def save(embedding: Tensor, epoch: int) -> None:
        if processes.is_main:
            np.save(folder / _EMBEDDED.format(epoch), embedding.numpy())

    candidates = []
    for ridges in product(config.closed_form.image_ridges, config.closed_form.class_ridges):
        head.fit(*ridges)
        candidates.append(_score(embedded(global_embedding) @ prototypes.T, task, *ridges))
    best = processes.agreed(max(candidates, key=lambda choice: choice.merit))
    report(f"closed form: {best}")
    ridges = (best.image_ridge, best.class_ridge)
    head.fit(*ridges)
    whole = embedded(global_embedding)
    save(whole, 0)
    if network.mim is None:
        return best
    network.mim.scale_visual_tokens(training.features.maps)

    weights = [w for w in config.mim.weights if w >= LEAST_WEIGHT] or config.mim.weights

    def after_epoch(epoch: int, loss: float) -> list[dict[str, float]]:
        local = embedded(mim_embedding)
        save(local, epoch)
        choices = [
            replace(
                _score(normalize(whole + weight * local, dim=-1) @ prototypes.T, task, *ridges),
                epochs=epoch,
                mim_weight=weight,
            )
            for weight in weights
        ]
        report(f"MIM, epoch {epoch}, loss {loss:.3f}: {max(choices, key=lambda c: c.merit)}")
        return [asdict(choice) for choice in choices]

    records = train_mim(
        network,
        training.features.maps,
        training.labels,
        training.class_attributes,
        config.mim,
        config.mim.epochs,
        config.seed,
        folder / "validation.safetensors",
        after_epoch,
        lambda records: out_of_patience(
            [best_of(record).merit for record in records], config.mim.patience
        ),
        watch,
        processes,
    )
    return settled([Choice(**choice) for record in records for choice in record])


def embedding_of(choice: Choice, folder: Path) -> F32 | None:
    """(N, D), what `choose` embedded the validation task's images as, with what it chose; None if
    the folder lacks it."""
    parts = [folder / _EMBEDDED.format(epoch) for epoch in {0, choice.epochs}]
    if not all(part.is_file() for part in parts):
        return None
    whole = torch.from_numpy(np.load(folder / _EMBEDDED.format(0)))
    if choice.epochs:
        local = torch.from_numpy(np.load(folder / _EMBEDDED.format(choice.epochs)))
        whole = normalize(whole + choice.mim_weight * local, dim=-1)
    result: F32 = whole.numpy()
    return result


def settled(candidates: Sequence[Choice]) -> Choice:
    """Of those that the best is ahead of by no more than noise, the one that has learned longest;
    then the one in which MIM counts most.

    One split's best is mostly luck: over folds, accuracy rises with epochs and is flat over weights
    (docs/experiments.md).
    """
    best = max(choice.merit for choice in candidates)
    near = [choice for choice in candidates if choice.merit >= best - NOISE]
    return max(near, key=lambda choice: (choice.epochs, choice.mim_weight))


def best_of(record: Sequence[dict[str, Any]]) -> Choice:
    """The best of one epoch's candidates, as they stand in a state."""
    return max((Choice(**choice) for choice in record), key=lambda choice: choice.merit)


def out_of_patience(merits: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` of the epochs were no better than the best before; 0 never is."""
    if not patience or not merits:
        return False
    return len(merits) - 1 - merits.index(max(merits)) >= patience


def _score(cosines: Tensor, task: ValidationTask, image_ridge: float, class_ridge: float) -> Choice:
    logits = cosines.numpy().astype(np.float32)
    gamma = _gamma(logits, task)
    unseen = ~task.is_seen[task.truth]
    return Choice(
        image_ridge,
        class_ridge,
        gamma,
        _temperature(logits, task, gamma),
        czsl(logits[unseen], task.truth[unseen], np.flatnonzero(~task.is_seen)),
        gzsl(logits, task.truth, task.is_seen, gamma)[2],
    )


def _gamma(cosines: F32, task: ValidationTask) -> float:
    """The gamma with the best H, were there as many unseen classes as the data set has.

    The more unseen classes, the higher the best of their scores, and the less gamma is needed. So
    it is the median over draws of so many validation classes, if there are more of these.
    """
    seen, unseen = np.flatnonzero(task.is_seen), np.flatnonzero(~task.is_seen)
    count = len(task.data.unseen)
    if not 2 <= count < len(unseen):
        return best_gamma(cosines, task.truth, task.is_seen)
    random = np.random.default_rng(0)
    found = []
    for _ in range(GAMMA_DRAWS):
        columns = np.sort(np.concatenate([seen, random.choice(unseen, count, replace=False)]))
        rows = np.flatnonzero(np.isin(task.truth, columns))
        truth = np.searchsorted(columns, task.truth[rows])
        found.append(best_gamma(cosines[np.ix_(rows, columns)], truth, task.is_seen[columns]))
    return float(np.median(found))


def _temperature(cosines: F32, task: ValidationTask, gamma: float) -> float:
    """The temperature with the best likelihood of the truth after calibrated stacking."""
    stacked = calibrated_stacking(cosines, task.is_seen, gamma)
    return min(TEMPERATURES, key=lambda t: log_loss(stacked, task.truth, t))


def log_loss(stacked: F32, truth: NDArray[np.int64], temperature: float) -> float:
    """Of the truth's probability: (N, C) cosines after calibrated stacking, (N,) columns."""
    chance = softmax(stacked / np.float32(temperature))[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chance, 1e-12)).mean())
