"""Where a run puts its bundle and keeps its states, before it computes anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import ConfigError
from model.training import run as runs
from model.training.ablation import fingerprint
from model.training.config import TrainingConfig
from model.training.features import Progress
from model.training.training_run import TrainingRun


@contextmanager
def unused(title: str) -> Iterator[Progress]:
    raise AssertionError(f"{title} were computed")
    yield


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


def run_to(out: Path, config: TrainingConfig, data: ZeroShotData) -> TrainingRun:
    return TrainingRun(config, data, out, Path("runs"), "a test", unused, print)


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("mine", "mine is no bundle, but holds photo.jpg"),
        ("mine/photo.jpg", "is no folder"),
        (".", "the folder that you are in"),
        ("runs", "the states in runs would be lost"),
    ],
)
def test_a_place_that_is_not_free_is_refused_before_anything_is_computed(
    data: ZeroShotData,
    small_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/photo.jpg").write_text("a photograph")

    with pytest.raises(ConfigError, match=complaint):
        runs.train(run_to(Path(out), small_config, data))

    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "photo.jpg"]


def test_a_run_is_named_after_what_a_link_points_to(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    link = tmp_path / "current"
    link.symlink_to("second")
    run = run_to(link, small_config, data)
    assert run.place == tmp_path / "second"
    assert run.folder == run_to(tmp_path / "second", small_config, data).folder


def test_other_labels_attribute_names_or_groups_find_no_old_states_and_no_old_results(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    labels = data.labels.copy()
    first, second = (np.flatnonzero(labels == c)[0] for c in data.seen[:2])
    labels[[first, second]] = labels[[second, first]]
    others = [
        data,
        replace(data, labels=labels),
        replace(data, attribute_groups=data.attribute_names),
        replace(data, attribute_names=tuple(reversed(data.attribute_names))),
    ]

    assert len({run_to(tmp_path / "out", small_config, other).folder for other in others}) == 4
    assert len({fingerprint(small_config, other, 5) for other in others}) == 4
    again = replace(data, labels=data.labels.copy())
    assert fingerprint(small_config, again, 5) == fingerprint(small_config, data, 5)
