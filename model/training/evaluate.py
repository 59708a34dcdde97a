"""Score a bundle as the field does: CZSL; GZSL's U, S and H, AUSUC; whether its probabilities hold;
the baseline beside it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model import bundle as bundles
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.errors import DatasetError
from model.metrics import ausuc, reliability
from model.nn.umzero import UMZero
from model.runtime.base import F32
from model.runtime.torch_backend import load_network
from model.scoring import calibrated_stacking, cosine_logits, softmax
from model.training.baseline import Scores, baseline_features, baseline_scores, scores
from model.training.features import Progress, batches_of_inputs
from model.training.heads import columns_of


@dataclass(frozen=True, eq=False)
class Scored:
    """What one pass over the N test images gave for C classes: whatever is told of them comes from
    here, so that no unseen class is scored a second time."""

    names: tuple[str, ...]  # (C,), for people
    is_seen: NDArray[np.bool_]  # (C,)
    truth: NDArray[np.int64]  # (N,), columns
    logits: F32  # (N, C), before calibrated stacking
    gamma: float

    @property
    def stacked(self) -> F32:
        """(N, C) logits after calibrated stacking."""
        return calibrated_stacking(self.logits, self.is_seen, self.gamma)

    @property
    def best(self) -> NDArray[np.intp]:
        """(N,) the best of all classes."""
        columns: NDArray[np.intp] = self.stacked.argmax(axis=1)
        return columns


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `umzero evaluate` prints.

    Attributes:
        ausuc: the area under the seen-unseen curve.
        ece: the expected calibration error of the probabilities over all classes, as served.
        changed: the share of test photographs whose best class (of all, after calibrated stacking)
            differs once a part is left out.
        tests: what all of it was computed from, the baseline aside.
    """

    scores: Scores
    ausuc: float
    ece: float
    baseline: Scores | None
    tests: Scored = field(repr=False)
    without: str = ""
    changed: float | None = None

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {**asdict(self.scores), "ausuc": self.ausuc, "ece": self.ece}
        if self.baseline is not None:
            result["baseline"] = asdict(self.baseline)
        if self.changed is not None:
            result |= {"without": self.without, "changed": self.changed}
        return result


@torch.inference_mode()
def evaluate(
    bundle: bundles.Bundle,
    data: ZeroShotData,
    without: str = "",
    baseline: bool = True,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Run the bundle's network over the test images, from the files' own pixels.

    Args:
        without: "hga" or "mim": zero that part's output, and count what changes.
        baseline: also score ESZSL; reads the training images as well, and all mirror images.

    Raises:
        DatasetError: the data set's attributes or seen classes aren't the bundle's.
    """
    _check_fits(bundle, data)
    network = load_network(bundle)
    classes = (*data.seen, *data.unseen)
    tests = np.concatenate([data.test_seen, data.test_unseen])
    images = np.arange(len(data.images)) if baseline else tests
    pass_ = _run(network, data.images, images, np.isin(images, tests), without, baseline, progress)
    order = np.searchsorted(np.sort(tests), tests) if baseline else np.arange(len(tests))

    prototypes = network.prototypes(torch.from_numpy(data.class_attributes[list(classes)])).numpy()
    truth = columns_of(data.labels[tests], classes)
    is_seen = np.isin(classes, data.seen)
    manifest = bundle.manifest

    def scored(embedding: F32) -> Scored:
        logits = cosine_logits(embedding[order], prototypes, manifest.temperature)
        names = tuple(data.display_names[c] for c in classes)
        return Scored(names, is_seen, truth, logits, manifest.gamma)

    found = scored(pass_.embedding)
    changed = None
    if without:
        ablated = scored(pass_.ablated)
        changed = float(np.mean(found.best != ablated.best))
        found = ablated
    return Evaluation(
        scores(found.logits, truth, is_seen, manifest.gamma),
        ausuc(found.logits, truth, is_seen),
        reliability(softmax(found.stacked), truth).error,
        baseline_scores(data, manifest.attributes, pass_.baseline) if baseline else None,
        found,
        without,
        changed,
    )


@dataclass(frozen=True, eq=False)
class _Pass:
    embedding: F32  # (test images, D), in the order of the pass
    ablated: F32  # the same without a part
    baseline: torch.Tensor  # (all images, C)


def _run(
    network: UMZero,
    paths: tuple[Path, ...],
    images: NDArray[np.int64],
    is_test: NDArray[np.bool_],
    without: str,
    baseline: bool,
    progress: Progress,
) -> _Pass:
    embedding, ablated, pooled = [], [], []
    size = network.config.backbone.input_size
    progress(0, len(images))
    for rows, batch in batches_of_inputs(ImageDataset([paths[i] for i in images], size)):
        features = network.features(batch)
        test = torch.from_numpy(is_test[rows])
        if test.any():
            chosen = features.rows(test)
            embedding.append(network.head(chosen).embedding.numpy())
            if without:
                ablated.append(network.head(chosen, without).embedding.numpy())
        if baseline:
            mirror = network.features(batch.flip(2)).pooled
            pooled.append(baseline_features(features.pooled, mirror))
        progress(rows.stop, len(images))
    return _Pass(
        np.concatenate(embedding),
        np.concatenate(ablated) if without else np.empty(0, np.float32),
        torch.cat(pooled) if baseline else torch.empty(0),
    )


def mismatches(bundle: bundles.Bundle, data: ZeroShotData) -> list[str]:
    """Why a bundle can't have been trained on some data; nothing if it can."""
    problems = []
    if data.attribute_names != bundle.manifest.attributes.names:
        problems.append(
            f"it has {len(data.attribute_names)} attributes, the bundle "
            f"{len(bundle.manifest.attributes)}, or they have other names or another order"
        )
    ours = {c.class_id for c in bundle.classes}
    theirs = {data.class_names[c] for c in data.seen}
    problems += [f"class {name} is seen in only one of them" for name in sorted(ours ^ theirs)]
    return problems


def _check_fits(bundle: bundles.Bundle, data: ZeroShotData) -> None:
    problems = mismatches(bundle, data)
    if not len(data.test_unseen) or not len(data.test_seen):
        problems.append("it needs test images of seen and of unseen classes")
    if problems:
        raise DatasetError(
            f"{data.name} can't score the bundle {bundle.name}; give the data it was trained on",
            tuple(problems),
        )
