"""What 8 bits cost: zero-shot accuracy of the int8 graph beside the fp32 graph's.

No image and no class of the test sets is read. As in training's validation phase, the global head
(pooled features and HGA, in closed form) is fitted on the classes that are no validation classes,
from fp32 features. Then it scores the photographs of the validation classes, and those held out of
the other classes, once from each graph's features, with one gamma for both (`scores_of_halves`).
"""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch.utils.data import ConcatDataset

from model.bundle import Bundle
from model.config import ModelConfig
from model.data.augment import Framed
from model.data.dataset import ImageDataset
from model.data.types import ZeroShotData
from model.errors import ParityError, WeightsError
from model.export.backbone_graph import readers, with_outputs
from model.export.onnx import EMBED, PROTOTYPES
from model.export.quantize import INT8
from model.metrics import best_gamma
from model.nn.umzero import AttributeLayout, Features, UMZero
from model.runtime.base import F32, U8
from model.runtime.onnx_backend import session_options
from model.training.baseline import Scores, scores
from model.training.features import VIEWS, Progress, batches_of_inputs
from model.training.heads import GlobalHead, TrainingSet, columns_of, global_embedding
from model.training.selection import ValidationTask, validation_task

GRAPHS = {"fp32": EMBED, "int8": INT8}
DIVISIONS = 50  # of the photographs into halves


@dataclass(frozen=True)
class Comparison:
    """`agreement` is the share of photographs to which both complete graphs give the same best
    class, of all that the bundle was trained on. `cosine` is between both graphs' embeddings."""

    fp32: Scores
    int8: Scores
    agreement: float
    mean_cosine: float
    lowest_cosine: float
    photographs: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class GraphFeatures:
    """A graph that also returns the backbone's maps.

    Args:
        path: the graph.
        fp32: the graph that it was made from, or itself.

    Raises:
        ParityError: the backbone hands on another number of maps than the configuration names.
    """

    def __init__(self, path: Path, fp32: Path, config: ModelConfig) -> None:
        heads = readers(onnx.load(fp32))
        stages = config.backbone.stages
        self._kept = config.hga.stages if config.hga.enabled else ()
        read = {stages[-1], *self._kept}
        read |= set(config.mim.stages if config.mim.enabled else ())
        self._stages = [stage for stage in stages if stage in read]
        if len(heads) != len(self._stages):
            raise ParityError(
                f"{len(heads)} maps leave the backbone of {fp32.name}, "
                f"expected {len(self._stages)}: {', '.join(self._stages)}"
            )
        self._deepest = stages[-1]
        graph, self._names = with_outputs(path, heads)
        self._session = onnxruntime.InferenceSession(
            graph, session_options(0), providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: U8) -> tuple[F32, Features]:
        """(B, S, S, 3) -> (B, D) embeddings, and what the global head reads."""
        embedding, *maps = self._session.run(["embedding", *self._names], {"images": images})
        named = dict(zip(self._stages, (torch.from_numpy(m) for m in maps), strict=True))
        kept = {stage: named[stage] for stage in self._kept}
        return embedding, Features(named[self._deepest].mean(dim=(2, 3)), kept)


class ValidationHead:
    """The global head as training's validation phase fits it, and its classes' prototypes.

    Raises:
        WeightsError: the manifest doesn't say which ridges training chose.
    """

    def __init__(
        self, bundle: Bundle, data: ZeroShotData, fp32: GraphFeatures, progress: Progress
    ) -> None:
        self.task = validation_task(data)
        self.network = _network(bundle, len(self.task.trained))
        choice = bundle.manifest.training.get("chosen_on_validation", {})
        try:
            ridges = float(choice["image_ridge"]), float(choice["class_ridge"])
        except KeyError as error:
            raise WeightsError(
                f"the manifest of {bundle.path} doesn't say under training.chosen_on_validation "
                f"which {error} was chosen; train the bundle again"
            ) from error
        training = _training_set(self.network, data, self.task, fp32, progress)
        GlobalHead(self.network, training).fit(*ridges)
        sheets = data.class_attributes[list(self.task.classes)]
        self.prototypes = self.network.prototypes(torch.from_numpy(sheets)).detach()

    def cosines(self, features: Features) -> F32:
        """(B, C), C the task's classes."""
        rows: F32 = (global_embedding(self.network, features) @ self.prototypes.T).numpy()
        return rows


def compare(
    bundle: Bundle, data: ZeroShotData, folder: Path, progress: Progress = lambda *_: None
) -> Comparison:
    """Score the fp32 and the int8 graph on the validation photographs.

    Args:
        data: what the bundle was trained on, with validation classes.
        folder: where the three graphs lie.
        progress: told of each batch, first while fitting, then while scoring.

    Raises:
        ParityError: the graphs don't have the maps that the manifest names.
        WeightsError: the manifest doesn't say what training chose.
    """
    config = ModelConfig.from_json(bundle.manifest.network)
    features = {
        name: GraphFeatures(folder / graph, folder / EMBED, config)
        for name, graph in GRAPHS.items()
    }
    head = ValidationHead(bundle, data, features["fp32"], progress)
    task = head.task
    paths = tuple(data.images[i] for i in task.images)
    cosines: dict[str, list[F32]] = {name: [] for name in GRAPHS}
    embeddings: dict[str, list[F32]] = {name: [] for name in GRAPHS}
    for rows, batch in batches_of_inputs(ImageDataset(paths, bundle.manifest.input_size)):
        for name in GRAPHS:
            embedding, read = features[name](batch.numpy())
            embeddings[name].append(embedding)
            cosines[name].append(head.cosines(read))
        progress(rows.stop, len(paths))

    found = scores_of_halves({name: np.concatenate(cosines[name]) for name in GRAPHS}, task)
    before, after = (np.concatenate(embeddings[name]) for name in GRAPHS)
    between = (before * after).sum(axis=1)
    prototypes = _prototypes(bundle, folder / PROTOTYPES)
    best = [(rows @ prototypes.T).argmax(axis=1) for rows in (before, after)]
    return Comparison(
        fp32=found["fp32"],
        int8=found["int8"],
        agreement=float(np.mean(best[0] == best[1])),
        mean_cosine=float(between.mean()),
        lowest_cosine=float(between.min()),
        photographs=len(paths),
    )


def scores_of_halves(logits: Mapping[str, F32], task: ValidationTask) -> dict[str, Scores]:
    """Each graph's scores, at a gamma that was fitted to neither on what it is scored on.

    Gamma is chosen on fp32's scores of half of the photographs, and both graphs are scored on the
    other half; means over `DIVISIONS` of every class's photographs, each half in both parts. At the
    gamma that is best for fp32 on all of them, fp32 would be flattered, and the other one could
    only lose.

    Args:
        logits: {graph: (N, C)}, of the task's photographs and classes, "fp32" among them.
    """
    draw = np.random.default_rng(0)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in logits}
    for _ in range(DIVISIONS):
        # Every class's photographs in random order, dealt out in turns.
        order = np.lexsort((draw.random(len(task.truth)), task.truth))
        for chosen, scored in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            gamma = best_gamma(logits["fp32"][chosen], task.truth[chosen], task.is_seen)
            for name, rows in logits.items():
                half = scores(rows[scored], task.truth[scored], task.is_seen, gamma)
                found[name].append(astuple(half))
    return {name: Scores(*map(float, np.mean(rows, axis=0))) for name, rows in found.items()}


def _training_set(
    network: UMZero,
    whole: ZeroShotData,
    task: ValidationTask,
    features: GraphFeatures,
    progress: Progress,
) -> TrainingSet:
    data = task.data
    images = data.train[np.isin(data.labels[data.train], task.trained)]
    paths = tuple(data.images[i] for i in images)
    size = network.config.backbone.input_size
    views: ConcatDataset[torch.Tensor] = ConcatDataset(
        [ImageDataset(paths, size), Framed(paths, size, whole)]
    )
    parts = []
    for rows, batch in batches_of_inputs(views):
        parts.append(features(batch.numpy())[1])
        progress(rows.stop, len(views))
    labels = torch.from_numpy(columns_of(data.labels[images], task.trained))
    return TrainingSet(
        Features(
            torch.cat([part.pooled for part in parts]),
            {stage: torch.cat([part.maps[stage] for part in parts]) for stage in parts[0].maps},
        ),
        labels.repeat(VIEWS),
        torch.from_numpy(data.class_attributes[list(task.trained)]),
    )


def _network(bundle: Bundle, classes: int) -> UMZero:
    """The bundle's network without MIM, as narrow as training makes it for so many classes."""
    config = ModelConfig.from_json(bundle.manifest.network)
    space = bundle.manifest.attributes
    dim = min(config.prototypes.embedding_dim, classes - 1, len(space))
    config = replace(
        config,
        mim=replace(config.mim, enabled=False),
        prototypes=replace(config.prototypes, embedding_dim=dim),
    )
    return UMZero(config, AttributeLayout.of(space), pretrained=False).eval()


def _prototypes(bundle: Bundle, graph: Path) -> F32:
    """(C, D), of all classes that the bundle was trained on."""
    session = onnxruntime.InferenceSession(
        graph, session_options(0), providers=["CPUExecutionProvider"]
    )
    sheets = np.array([item.attributes for item in bundle.classes], np.float32)
    prototypes: F32 = session.run(["prototypes"], {"class_attributes": sheets})[0]
    return prototypes
