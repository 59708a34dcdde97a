"""Folds over the seen classes: what is scored, what is chosen where, and what a difference is."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from model.data.read import read
from model.data.types import ZeroShotData
from model.metrics import czsl, gzsl
from model.training import ablation
from model.training.ablation_picture import draw
from model.training.config import TrainingConfig
from model.training.folds import (
    GAMMAS,
    Difference,
    FoldScores,
    Result,
    folds,
    paired_difference,
)
from model.training.selection import ValidationTask
from model.training.training_run import attribute_space


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


def random_scores(task: ValidationTask, seed: int) -> np.ndarray:
    """Noise, in which the true class tends to be higher."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(task.images), len(task.classes))).astype(np.float32)
    scores[np.arange(len(task.truth)), task.truth] += 1.2
    return scores


def test_every_seen_class_plays_unseen_once_and_no_test_image_is_read(data: ZeroShotData) -> None:
    tasks = folds(data, 3, seed=4)

    played = [c for task in tasks for c in task.classes if c not in task.trained]
    assert sorted(played) == sorted(data.seen)
    for task in tasks:
        read_images = {*task.images.tolist(), *task.data.train.tolist()}
        assert read_images <= set(data.train.tolist())
        assert not set(task.images.tolist()) & {
            image for image in task.data.train.tolist() if data.labels[image] in task.trained
        }
    assert [t.classes for t in folds(data, 3, 4)] == [t.classes for t in tasks]
    assert [t.classes for t in folds(data, 3, 5)] != [t.classes for t in tasks]


@pytest.mark.parametrize("count", [1, 4])
def test_folds_of_fewer_than_two_classes_are_refused(data: ZeroShotData, count: int) -> None:
    with pytest.raises(ValueError, match="expected 2 or more of each"):
        folds(data, count, 0)


def test_a_fold_scores_what_the_field_s_metrics_score(data: ZeroShotData) -> None:
    task = folds(data, 3, 0)[1]
    scores = random_scores(task, 7)
    found = FoldScores.of(scores, task)

    unseen = ~task.is_seen[task.truth]
    expected = czsl(scores[unseen], task.truth[unseen], np.flatnonzero(~task.is_seen))
    assert np.mean(list(found.czsl.values())) == pytest.approx(expected)
    columns = np.arange(len(task.classes))
    seen, other = columns[task.is_seen], columns[~task.is_seen]
    margin = scores[:, seen].max(axis=1) - scores[:, other].max(axis=1)
    for at in (0, 20, 33, 60, 180):
        u, s, h = gzsl(scores, task.truth, task.is_seen, float(GAMMAS[at] * margin.std()))
        assert found.u[at].mean() == pytest.approx(u)
        assert found.s[at].mean() == pytest.approx(s)
        assert found.h()[at] == pytest.approx(h, abs=1e-6)


def test_ausuc_is_the_area_below_all_gammas(data: ZeroShotData) -> None:
    task = folds(data, 3, 0)[0]
    scores = random_scores(task, 1)
    gammas = np.linspace(-12, 12, 20_001)
    points = [gzsl(scores, task.truth, task.is_seen, float(g))[:2] for g in gammas[::10]]
    u, s = np.array(points).T
    area = float(np.sum((u[1:] - u[:-1]) * (s[1:] + s[:-1]) / 2))
    assert FoldScores.of(scores, task).ausuc == pytest.approx(area, abs=0.01)


def test_a_fold_s_setting_is_chosen_by_the_others(data: ZeroShotData) -> None:
    tasks = folds(data, 3, 0)
    perfect = [FoldScores.of(_perfect(task), task) for task in tasks]
    poor = [FoldScores.of(-_perfect(task), task) for task in tasks]
    # "a" is good everywhere but in the last fold, "b" is good there alone.
    found = [
        {"a": perfect[0], "b": poor[0]},
        {"a": perfect[1], "b": poor[1]},
        {"a": poor[2], "b": perfect[2]},
    ]
    result = Result.chosen(found)
    worst = {data.class_names[c] for c in tasks[2].classes if c not in tasks[2].trained}
    assert {name for name, value in result.czsl.items() if value < 1} == worst


def _perfect(task: ValidationTask) -> np.ndarray:
    scores = np.zeros((len(task.images), len(task.classes)), np.float32)
    scores[np.arange(len(task.truth)), task.truth] = 1
    # Margins that differ, or their deviation would be that of two values alone.
    return scores + np.linspace(0, 0.1, len(scores), dtype=np.float32)[:, None] * scores


def result_of(values: list[float], lift: float = 0.0) -> Result:
    accuracies = {f"c{i}": value + lift for i, value in enumerate(values)}
    return Result(accuracies, accuracies, accuracies, 0.5)


def test_a_difference_is_paired_by_class() -> None:
    # Classes differ by far more than the systems do: an unpaired interval would hold 0.
    values = np.random.default_rng(0).uniform(0.2, 0.9, 40).tolist()
    same = paired_difference([result_of(values)], [result_of(values)])
    assert (same["czsl"].low, same["h"].high) == (0, 0)
    better = paired_difference([result_of(values, 0.03)] * 2, [result_of(values)] * 2)
    for difference in better.values():
        assert difference.mean == pytest.approx(0.03)
        assert 0.02 < difference.low <= difference.mean <= difference.high < 0.04
    assert str(better["czsl"]) == "+3.0 [+3.0, +3.0]"


def test_an_interval_is_as_wide_as_classes_disagree() -> None:
    values = [0.5] * 50
    lifted = [0.5 + (0.2 if i % 2 else -0.1) for i in range(50)]
    found = paired_difference([result_of(lifted)], [result_of(values)])["czsl"]
    assert found.mean == pytest.approx(0.05)
    # The normal approximation of a mean of 50 values of +0.2 and -0.1.
    half = 1.96 * 0.15 / 50**0.5
    assert found.low == pytest.approx(0.05 - half, abs=0.012)
    assert found.high == pytest.approx(0.05 + half, abs=0.012)


def test_the_ablation_goes_on_from_its_log(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path
) -> None:
    log = tmp_path / "docs" / "experiments.jsonl"
    told: list[str] = []

    def run(systems: list[str], seeds: range) -> list[ablation.Row]:
        return ablation.ablate(
            small_config,
            data,
            attribute_space(data),
            systems,
            3,
            seeds,
            log,
            tmp_path / "runs",
            lambda *_: None,
            told.append,
        )

    run(["umzero", "eszsl"], range(1))
    first = log.read_text()
    assert len(first.splitlines()) == 2
    told.clear()
    rows = run(["umzero", "without mim", "eszsl"], range(1))

    assert log.read_text().startswith(first)
    assert len(log.read_text().splitlines()) == 3
    assert not any("eszsl" in line or "umzero" in line for line in told)
    assert [row.system for row in rows] == ["umzero", "without mim", "eszsl"]
    for row in rows:
        assert row.seeds == 1
        assert 0 <= row.summary["czsl"] <= 1
    assert rows[0].over_first is None
    assert rows[2].over_baseline is None
    assert rows[1].over_baseline is not None


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0], ids=["nothing", "half", "all but its end"])
def test_the_ablation_goes_on_from_a_log_whose_last_line_is_half_written(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path: Path, kept: float
) -> None:
    log = tmp_path / "experiments.jsonl"

    def run(seeds: range) -> list[ablation.Row]:
        return ablation.ablate(
            small_config,
            data,
            attribute_space(data),
            ["eszsl"],
            3,
            seeds,
            log,
            tmp_path / "runs",
            lambda *_: None,
            lambda _: None,
        )

    whole = run(range(2))
    first, second = log.read_text().splitlines()
    half = second[: round(kept * len(second))]
    log.write_text(f"{first}\n{half}")

    again = run(range(2))
    run(range(3))

    assert again == whole
    assert log.read_text().startswith(f"{first}\n{half}")
    assert second in log.read_text().splitlines()
    key = ablation.fingerprint(small_config, data, 3)
    assert set(ablation.read_log(log, key)) == {("eszsl", seed) for seed in range(3)}


def test_the_picture_names_every_system_and_has_a_mark_for_each_difference(tmp_path: Path) -> None:
    def row(system: str, found: dict[str, Difference] | None) -> ablation.Row:
        return ablation.Row(system, 2, {}, {}, None, found)

    differences = {"czsl": Difference(-0.01, -0.02, 0.005), "h": Difference(-0.03, -0.04, -0.02)}
    rows = [row("umzero", None), row("without hga", differences), row("eszsl", differences)]
    path = tmp_path / "docs" / "picture.svg"
    draw(rows, path)

    text = path.read_text()
    ElementTree.fromstring(text)
    for word in ("without hga", "eszsl", "CZSL", "over umzero, 2 deals"):
        assert word in text
    assert "<date" not in text
    draw(rows, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text
