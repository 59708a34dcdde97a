"""The whole way from photographs to a bundle, on small drawn images and with the real backbone."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import bundle as bundles
from model.commands import bundles as commands
from model.data.augment import Framed
from model.data.dataset import ImageDataset
from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import ConfigError, DatasetError, ParityError
from model.export import parity
from model.runtime.torch_backend import TorchBackend, load_network
from model.training import features, loop, run
from model.training.config import TrainingConfig
from model.training.evaluate import evaluate
from model.training.features import Progress, extract
from model.training.selection import validation_task
from model.training.training_run import TrainingRun


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    yield lambda *_: None


def train(config: TrainingConfig, data: ZeroShotData, folder: Path) -> bundles.Bundle:
    return run.train(
        TrainingRun(config, data, folder / "shapes", folder / "runs", "a test", quiet, print)
    )


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


@pytest.fixture(scope="module")
def trained(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bundles.Bundle, Path]:
    folder = tmp_path_factory.mktemp("trained")
    return train(small_config, data, folder), folder


def test_a_run_ends_with_a_bundle_whose_files_and_scores_hold(
    trained: tuple[bundles.Bundle, Path], data: ZeroShotData
) -> None:
    bundle, _ = trained
    assert bundles.verify(bundle) == ()
    names = {"model.safetensors", "embed.onnx", "prototypes.onnx", "classes.json"}
    assert set(bundle.manifest.files) == {*names, "README.md"}
    assert [c.class_id for c in bundle.classes] == [data.class_names[c] for c in data.seen]
    scores = evaluate(bundle, data).to_json()
    recorded = dict(bundle.manifest.scores)
    assert recorded.pop("command") == "a test"
    assert recorded == scores


def test_the_report_lies_beside_the_states_with_the_figures_of_the_manifest(
    trained: tuple[bundles.Bundle, Path],
) -> None:
    bundle, folder = trained
    (path,) = folder.glob("runs/shapes-*/report.html")
    page = path.read_text()
    keys = ("czsl", "u", "s", "h", "ausuc", "ece")
    cells = "".join(f"<td>{100 * bundle.manifest.scores[key]:.1f}</td>" for key in keys)
    assert f"<td>UMZero</td>{cells}" in page
    assert bundle.sha256 in page
    assert page.count("<svg") == 6


def test_unseen_shapes_are_recognised_far_above_chance(
    trained: tuple[bundles.Bundle, Path],
) -> None:
    assert trained[0].manifest.scores["czsl"] >= 0.8  # chance: 0.5 of two classes


def test_the_torch_backend_serves_what_the_network_computes(
    trained: tuple[bundles.Bundle, Path],
) -> None:
    bundle, _ = trained
    backend = TorchBackend(bundle, "cpu", "auto", 0)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    embedded = backend.embed(images)
    with torch.no_grad():
        expected = load_network(bundle)(torch.from_numpy(images))
    np.testing.assert_allclose(embedded.embedding, expected.embedding, atol=1e-5)
    info = backend.info
    assert embedded.embedding.shape == (2, info.embedding_dim)
    assert embedded.attributes.shape == (2, info.attribute_count)
    assert embedded.maps.shape == (2, info.token_count, *info.grid)


def test_leaving_a_part_out_is_counted_in_changed_answers(
    trained: tuple[bundles.Bundle, Path], data: ZeroShotData
) -> None:
    result = evaluate(trained[0], data, without="hga", baseline=False).to_json()
    assert result["without"] == "hga"
    assert 0 < result["changed"] <= 1
    assert "baseline" not in result


def test_a_damaged_file_is_named(trained: tuple[bundles.Bundle, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained[0].path, copy)
    weights = copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    (problem,) = bundles.verify(bundles.read(copy))
    assert problem.startswith("model.safetensors has sha256")


def test_a_run_that_is_killed_ends_where_an_uninterrupted_one_does(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    # Dies after each saved epoch, until nothing is left to do.
    real_save = loop.save_state

    def save_and_die(*args: object) -> None:
        real_save(*args)
        raise Killed

    monkeypatch.setattr(loop, "save_state", save_and_die)
    deaths = 0
    while True:
        try:
            bundle = train(small_config, data, tmp_path)
            break
        except Killed:
            deaths += 1
            assert deaths < 10
    assert deaths >= small_config.mim.epochs
    uninterrupted, _ = trained
    assert bundle.manifest.files == uninterrupted.manifest.files


def test_features_go_on_from_the_last_finished_rows(
    data: ZeroShotData,
    trained: tuple[bundles.Bundle, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "SAVED", features.BATCH)
    network = load_network(trained[0])
    whole = extract(network, data, tmp_path / "whole")

    class Killed(BaseException):
        pass

    def die(done: int, total: int) -> None:
        if 0 < done < total:
            raise Killed

    with pytest.raises(Killed):
        extract(network, data, tmp_path / "cut", die)
    seen: list[int] = []
    cut = extract(network, data, tmp_path / "cut", lambda done, _: seen.append(done))
    assert seen[0] > 0
    np.testing.assert_array_equal(cut.pooled, whole.pooled)
    for stage, maps in whole.maps.items():
        np.testing.assert_array_equal(cut.maps[stage], maps)


def test_a_cache_is_of_one_photograph_and_no_other_though_its_name_is_not_utf_8(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    keys = set()
    for name in (b"caf\xe9.png", b"caf\xe8.png"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(b"")
        os.utime(path, (0, 0))
        keys.add(features.cache_key(small_config.model, replace(data, images=(path,))))
    assert len(keys) == 2


def test_features_are_those_of_the_network_and_training_images_have_a_second_view(
    data: ZeroShotData, trained: tuple[bundles.Bundle, Path], tmp_path: Path
) -> None:
    network = load_network(trained[0])
    store = extract(network, data, tmp_path)
    chosen = data.train[[0, 5, 9]]
    size = network.config.backbone.input_size
    paths = [data.images[i] for i in chosen]
    for view, images in enumerate((ImageDataset(paths, size), Framed(paths, size, data))):
        with torch.no_grad():
            expected = network.features(torch.stack([images[i] for i in range(3)]))
        found = store.read(chosen, view)
        torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(store.read_pooled(chosen, view), found.pooled)
        for stage, maps in expected.maps.items():
            torch.testing.assert_close(found.maps[stage], maps, atol=1e-2, rtol=1e-2)
    with pytest.raises(ValueError, match="second view"):
        store.read(data.test_seen[:1], 1)


def test_no_choice_reads_a_test_image_or_an_unseen_class(data: ZeroShotData) -> None:
    task = validation_task(data)
    tests = {*data.test_seen.tolist(), *data.test_unseen.tolist()}
    assert not tests & {*task.images.tolist(), *task.data.train.tolist()}
    assert not set(task.images.tolist()) & set(
        task.data.train[np.isin(data.labels[task.data.train], task.trained)].tolist()
    )
    assert not set(data.unseen) & set(task.classes)
    assert set(task.trained) == set(data.seen) - set(data.validation)


def test_a_graph_that_is_off_is_refused_and_leaves_no_bundle(
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", 1e-12)
    with pytest.raises(ParityError, match="differs from torch"):
        train(small_config, data, tmp_path)
    assert not (tmp_path / "shapes").exists()


@pytest.mark.parametrize("part", ["attribute_head", "global_head", "prototype_unit.project"])
def test_a_network_that_computes_nothing_sensible_is_refused(
    trained: tuple[bundles.Bundle, Path], data: ZeroShotData, part: str
) -> None:
    network = load_network(trained[0])
    with torch.no_grad():
        network.get_submodule(part).weight.fill_(torch.nan)
    with pytest.raises(ParityError):
        parity.check(network, trained[0].path, *run.parity_inputs(network, data))


def test_graphs_are_held_against_the_network_on_training_images_alone(
    trained: tuple[bundles.Bundle, Path], data: ZeroShotData
) -> None:
    paths = tuple(p if i in data.train else Path("gone") for i, p in enumerate(data.images))
    network = load_network(trained[0])

    images, sheets = run.parity_inputs(network, replace(data, images=paths))

    assert len(np.unique(images, axis=0)) == run.PARITY_IMAGES
    np.testing.assert_array_equal(sheets, data.class_attributes)


def test_a_data_set_without_validation_classes_is_refused(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="validation classes"):
        train(small_config, replace(data, validation=()), tmp_path)


def test_the_choice_is_kept_and_not_made_twice_and_the_unseen_classes_are_scored_once(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    small_config: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, folder = trained

    def choose_again(*_: object) -> None:
        raise AssertionError("chosen twice")

    scored = []

    def evaluate_and_count(*args: object, **kwargs: object) -> object:
        scored.append(args)
        return evaluate(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "choose", choose_again)
    monkeypatch.setattr(run, "evaluate", evaluate_and_count)
    again = train(small_config, data, folder)
    assert again.manifest.files == bundle.manifest.files
    assert json.loads((again.path / "manifest.json").read_text())["scores"]
    assert len(scored) == 1


def test_calibrating_again_decides_the_same_and_touches_nothing_else(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
) -> None:
    bundle, _ = trained
    calibration = bundle.manifest.calibration
    assert calibration.keys() == {
        "known_threshold",
        "false_alarms",
        "sheet_counts",
        "photographs",
    }
    copy = tmp_path / "shapes"
    shutil.copytree(bundle.path, copy)
    bundles.write(copy, replace(bundle.manifest, calibration={}), bundle.classes)
    # Without what the training left behind: it chooses again, and comes to the same.
    again = run.calibrate_again(
        TrainingRun(small_config, data, copy, tmp_path / "runs", "", quiet, print)
    )
    assert again.manifest.calibration == pytest.approx(calibration)
    assert again.manifest.files == bundle.manifest.files
    assert again.manifest.scores == bundle.manifest.scores


def without_mim(config: TrainingConfig) -> TrainingConfig:
    model = config.model
    return replace(config, model=replace(model, mim=replace(model.mim, enabled=False)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c, d: (replace(c, seed=7), d), "seed is 0 in the bundle, 7 here"),
        (lambda c, d: (without_mim(c), d), r"network\.mim\.enabled is True in the bundle, False"),
        (
            lambda c, d: (replace(c, mim=replace(c.mim, contrastive_weight=0.0)), d),
            r"mim\.contrastive_weight is 0\.3 in the bundle, 0\.0 here",
        ),
        (lambda c, d: (c, replace(d, seen=d.seen[:-1])), "is seen in only one of them"),
    ],
)
def test_a_bundle_of_another_training_is_not_calibrated_and_nothing_is_computed(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
    change: Callable[..., tuple[TrainingConfig, ZeroShotData]],
    complaint: str,
) -> None:
    bundle, _ = trained
    config, other = change(small_config, data)

    with pytest.raises(ConfigError, match=complaint):
        run.calibrate_again(
            TrainingRun(config, other, bundle.path, tmp_path / "runs", "", quiet, print)
        )

    assert not (tmp_path / "runs").exists()
    assert bundles.read(bundle.path).sha256 == bundle.sha256


def test_a_bundle_that_was_made_of_another_choice_is_not_calibrated(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
) -> None:
    bundle, folder = trained
    copy = tmp_path / "shapes"
    shutil.copytree(bundle.path, copy)
    chosen = bundle.manifest.training["chosen_on_validation"]
    training = {
        **bundle.manifest.training,
        "chosen_on_validation": {**chosen, "gamma": chosen["gamma"] + 0.1},
    }
    other = bundles.write(copy, replace(bundle.manifest, training=training), bundle.classes)

    with pytest.raises(ConfigError, match=r"chosen_on_validation\.gamma is"):
        run.calibrate_again(
            TrainingRun(small_config, data, copy, folder / "runs", "", quiet, print)
        )

    assert bundles.read(copy).sha256 == other.sha256


@pytest.mark.parametrize("name", ["export", "calibrate"])
def test_a_command_that_dies_before_the_manifest_is_written_leaves_the_bundle_as_it_was(
    trained: tuple[bundles.Bundle, Path],
    data: ZeroShotData,
    shapes_dir: Path,
    small_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    bundle, folder = trained
    copy = tmp_path / "shapes"
    shutil.copytree(bundle.path, copy)
    # Of an older exporter and an older card.
    (copy / "embed.onnx").write_bytes(b"a graph")
    old = bundles.write(copy, bundle.manifest, bundle.classes)
    monkeypatch.setattr(bundles, "card", lambda *_: "another card")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "_manifest_to_json", die)
    again = TrainingRun(small_config, data, copy, folder / "runs", "", quiet, print)
    command = {
        "export": lambda: commands.export(copy, shapes_dir),
        "calibrate": lambda: run.calibrate_again(again),
    }[name]
    with pytest.raises(KeyboardInterrupt):
        command()

    found = bundles.read(copy)
    assert found.sha256 == old.sha256
    assert bundles.verify(found) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
