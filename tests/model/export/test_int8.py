"""What int8 costs, on drawn images: against what training itself measured."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import DatasetError, WeightsError
from model.export.int8 import calibration_images, check_data, write_int8
from model.export.precision import compare, scores_of_halves
from model.metrics import best_gamma, gzsl
from model.runtime.onnx_backend import OnnxBackend
from model.training.baseline import Scores
from model.training.config import TrainingConfig
from model.training.features import Progress, extract
from model.training.run import train
from model.training.selection import choose, validation_task
from model.training.training_run import TrainingRun

pytest.importorskip("onnx", reason="needs the package onnx to write graphs")


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    yield lambda *_: None


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


@pytest.fixture(scope="module")
def trained(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> bundles.Bundle:
    folder = tmp_path_factory.mktemp("trained")
    return train(
        TrainingRun(small_config, data, folder / "shapes", folder / "runs", "a test", quiet, print)
    )


def with_equal_graphs(trained: bundles.Bundle, folder: Path) -> Path:
    """A folder where int8's graph is fp32's."""
    shutil.copytree(trained.path, folder)
    shutil.copy(folder / "embed.onnx", folder / "embed.int8.onnx")
    return folder


def test_equal_graphs_score_equally_and_as_training_does(
    trained: bundles.Bundle, data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    # Training's own choice of the closed form, from torch's features.
    model = replace(small_config.model, mim=replace(small_config.model.mim, enabled=False))
    config = replace(small_config, model=model)
    run = TrainingRun(config, data, tmp_path / "out", tmp_path / "runs", "", quiet, print)
    network = run.network(len(data.seen) - len(data.validation))
    store = extract(network, data, tmp_path / "runs")
    choice = choose(network, data, store, config, tmp_path)

    chosen = {"chosen_on_validation": asdict(choice)}
    bundle = replace(trained, manifest=replace(trained.manifest, training=chosen))
    found = compare(bundle, data, with_equal_graphs(trained, tmp_path / "copy"))
    assert found.fp32 == found.int8
    assert found.agreement == 1
    assert found.lowest_cosine == pytest.approx(1, abs=1e-5)
    assert found.photographs == len(validation_task(data).images)
    # Training caches maps as float16.
    assert found.fp32.czsl == pytest.approx(choice.czsl, abs=0.051)
    # Training's gamma was chosen on the photographs that it scores.
    assert 0 < found.fp32.h < choice.h + 0.051


def test_a_graph_is_scored_at_a_gamma_chosen_on_other_photographs(data: ZeroShotData) -> None:
    task = validation_task(data)
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((len(task.truth), len(task.classes))).astype(np.float32)
    # Every photograph surely right, but for gamma, and gamma sure in every half.
    sure = 20.0 * (task.truth[:, None] == np.arange(len(task.classes))) + 8.0 * task.is_seen
    found = scores_of_halves({"fp32": logits + sure, "int8": logits + sure}, task)
    assert found["fp32"] == found["int8"] == Scores(1, 1, 1, 1)
    # Noise alone: what is best on half of the photographs is as good as any on the other.
    found = scores_of_halves({"fp32": logits, "int8": -logits}, task)
    flattered = gzsl(
        logits, task.truth, task.is_seen, best_gamma(logits, task.truth, task.is_seen)
    )[2]
    assert found["fp32"].h < flattered


def test_what_is_written_can_be_loaded_and_stays_close(
    trained: bundles.Bundle, data: ZeroShotData, tmp_path: Path
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(trained.path, path)
    size = trained.manifest.input_size
    images = calibration_images(data, size)
    figures = write_int8(trained, data, path, images[:4], "a test")
    assert figures["command"] == "a test"
    assert figures["calibration_images"] == len(images)
    bundle = bundles.write(path, replace(trained.manifest, int8=figures), trained.classes)
    assert bundle.manifest.int8 == figures
    assert "embed.int8.onnx" in bundle.manifest.files
    backends = [OnnxBackend(bundle, threads=1, precision=p) for p in ("fp32", "int8")]
    before, after = (backend.embed(images).embedding for backend in backends)
    assert np.mean((before * after).sum(axis=1)) > 0.95
    assert not np.array_equal(before, after)


def test_calibration_reads_training_images_that_no_score_is_taken_on(data: ZeroShotData) -> None:
    task = validation_task(data)
    free = task.data.train[np.isin(data.labels[task.data.train], task.trained)]
    images = calibration_images(data, 64)
    assert images.shape == (min(100, len(free)), 64, 64, 3)
    paths = tuple(p if i in free else Path("gone") for i, p in enumerate(data.images))
    only = replace(data, images=paths)
    np.testing.assert_array_equal(calibration_images(only, 64), images)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"validation": ()}, "0 of its 7 seen classes are validation classes"),
        ({"seen": (0, 1, 2, 3)}, "is seen in only one of them"),
        ({"attribute_names": ("a",)}, "it has 1 attributes, the bundle"),
    ],
)
def test_other_data_is_refused(
    trained: bundles.Bundle, data: ZeroShotData, change: dict, complaint: str
) -> None:
    with pytest.raises(DatasetError, match=complaint):
        check_data(trained, replace(data, **change))


def test_a_manifest_without_training_s_choice_is_refused(
    trained: bundles.Bundle, data: ZeroShotData, tmp_path: Path
) -> None:
    silent = replace(trained, manifest=replace(trained.manifest, training={}))
    folder = with_equal_graphs(trained, tmp_path / "copy")
    with pytest.raises(WeightsError, match="chosen_on_validation"):
        compare(silent, data, folder)
