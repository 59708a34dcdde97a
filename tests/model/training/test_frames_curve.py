"""Accuracy over the object's share of the frame."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle
from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import ConfigError, DatasetError
from model.runtime import load
from model.runtime.fake import FakeBackend, write_fake_bundle
from model.training.frames_curve import frames_curve, intersection_over_union
from tests.shapes import COLOURS, SHAPES
from umzero import cli


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


@pytest.fixture
def bundle(tmp_path: Path, data: ZeroShotData) -> Bundle:
    classes = {
        data.class_names[c]: dict(
            zip(("colour", "shape"), data.class_names[c].split("_"), strict=True)
        )
        for c in data.seen
    }
    attributes = {"colour": tuple(COLOURS), "shape": SHAPES}
    return write_fake_bundle(tmp_path / "shapes", classes, attributes)


def test_a_second_look_at_everything_changes_nothing_and_overlaps_by_the_objects_share(
    bundle: Bundle, data: ZeroShotData
) -> None:
    steps: list[tuple[int, int]] = []

    curve = frames_curve(
        FakeBackend.of(bundle),
        bundle,
        data,
        shares=(1.0, 0.25),
        progress=lambda *at: steps.append(at),
    )

    tests = [i for i in data.test_seen if int(data.labels[i]) in data.validation]
    assert (curve.on, curve.photographs) == ("validation", len(tests))
    assert [point.share for point in curve.points] == [1.0, 0.25]
    for point in curve.points:
        assert point.once == point.twice
        assert 0 <= point.once <= 1
        assert point.overlap == pytest.approx(point.share, rel=0.05)
    assert curve.points[0].window == curve.points[0].once
    assert steps[-1] == (2 * len(tests), 2 * len(tests))


def test_photographs_of_unseen_classes_are_read_only_when_they_are_asked_for(
    bundle: Bundle, data: ZeroShotData
) -> None:
    unseen = set(np.flatnonzero(np.isin(data.labels, data.unseen)).tolist())
    hidden = tuple(Path("missing") if i in unseen else path for i, path in enumerate(data.images))
    without = replace(data, images=hidden)

    frames_curve(FakeBackend.of(bundle), bundle, without, shares=(1.0, 0.1))
    with pytest.raises(DatasetError, match="missing"):
        frames_curve(FakeBackend.of(bundle), bundle, without, "unseen", shares=(1.0,))

    curve = frames_curve(FakeBackend.of(bundle), bundle, data, "unseen", shares=(0.5,))
    assert (curve.on, curve.photographs) == ("unseen", len(data.test_unseen))


def test_what_can_not_be_measured_is_refused(bundle: Bundle, data: ZeroShotData) -> None:
    backend = FakeBackend.of(bundle)
    with pytest.raises(ConfigError, match="validation or unseen"):
        frames_curve(backend, bundle, data, "seen")
    with pytest.raises(DatasetError, match="test photograph"):
        frames_curve(backend, bundle, replace(data, test_seen=data.test_seen[:1]))
    other = replace(data, attribute_names=data.attribute_names[::-1])
    with pytest.raises(DatasetError, match="attributes"):
        frames_curve(backend, bundle, other)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((0, 0, 4, 4), 1.0),
        ((4, 0, 4, 4), 0.0),
        ((9, 9, 1, 1), 0.0),
        ((2, 2, 4, 4), 4 / 28),
        ((1, 1, 2, 2), 4 / 16),
    ],
)
def test_overlap_is_the_common_area_over_the_joint_one(
    second: tuple[int, int, int, int], expected: float
) -> None:
    assert intersection_over_union((0, 0, 4, 4), second) == pytest.approx(expected)
    assert intersection_over_union(second, (0, 0, 4, 4)) == pytest.approx(expected)


def test_the_command_prints_the_curve(
    bundle: Bundle,
    shapes_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(load, "load", lambda found, *_: FakeBackend.of(found))
    words = ["evaluate", str(bundle.path), "--data", str(shapes_dir), "--frames"]

    cli.build("evaluate")([*words, "--json"], standalone_mode=False)
    curve = json.loads(capsys.readouterr().out)
    cli.build("evaluate")(words, standalone_mode=False)
    table = capsys.readouterr().out

    assert [point["share"] for point in curve["points"]] == [1.0, 0.5, 0.25, 0.1]
    assert "validation classes in frames" in " ".join(table.split())
    for point in curve["points"]:
        assert f"{100 * point['twice']:.1f}" in table


@pytest.mark.parametrize(
    "words", [("--on", "unseen"), ("--frames", "--without", "mim"), ("--frames", "--on", "seen")]
)
def test_options_that_do_not_go_together_are_refused(
    bundle: Bundle, shapes_dir: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(load, "load", lambda found, *_: FakeBackend.of(found))
    command = ["evaluate", str(bundle.path), "--data", str(shapes_dir), *words]
    with pytest.raises(ConfigError, match="--"):
        cli.build("evaluate")(command, standalone_mode=False)
