"""The committed bundle keeps its promises."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.data.read import read
from model.data.types import ZeroShotData
from model.export import parity
from model.runtime.torch_backend import load_network
from model.training.evaluate import Evaluation, evaluate
from model.training.run import parity_inputs


@cache
def birds(root: Path) -> ZeroShotData:
    return read(root)


@cache
def evaluation(bundle: Path, root: Path, without: str) -> Evaluation:
    return evaluate(bundles.read(bundle), birds(root), without=without, baseline=False)


def test_every_file_is_what_the_manifest_says(birds_bundle: Path) -> None:
    assert bundles.verify(bundles.read(birds_bundle)) == ()


def test_it_is_small_enough_to_be_committed(birds_bundle: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in birds_bundle.iterdir()}
    assert sum(sizes.values()) < 60e6
    assert sum(s for name, s in sizes.items() if not name.endswith("safetensors")) < 30e6


def test_it_says_where_its_photographs_came_from(birds_bundle: Path) -> None:
    assert "CUB-200-2011" in bundles.read(birds_bundle).manifest.licence


def test_the_graphs_equal_torch_on_any_pixels(birds_bundle: Path) -> None:
    bundle = bundles.read(birds_bundle)
    rng = np.random.default_rng(0)
    size = bundle.manifest.input_size
    noise = rng.integers(0, 256, (3, size, size, 3), np.uint8)
    sheets = rng.uniform(0, 100, (5, len(bundle.manifest.attributes))).astype(np.float32)
    found = parity.check(load_network(bundle), birds_bundle, noise, sheets)
    assert found.worst <= 1e-4


def test_the_graphs_equal_torch_on_real_photographs(birds_bundle: Path, birds_dir: Path) -> None:
    network = load_network(bundles.read(birds_bundle))
    inputs = parity_inputs(network, birds(birds_dir))
    assert parity.check(network, birds_bundle, *inputs).worst <= 1e-4


def test_the_manifest_says_what_an_evaluation_finds(birds_bundle: Path, birds_dir: Path) -> None:
    recorded = bundles.read(birds_bundle).manifest.scores
    found = evaluation(birds_bundle, birds_dir, "").to_json()
    assert {"czsl", "u", "s", "h"} <= recorded.keys() & found.keys()
    for name in recorded.keys() & found.keys():  # AUSUC and ECE are younger than some bundles
        assert found[name] == pytest.approx(recorded[name], abs=0.002), name


def test_it_is_at_least_as_good_as_the_classical_baseline(birds_bundle: Path) -> None:
    scores = bundles.read(birds_bundle).manifest.scores
    assert scores["czsl"] >= max(scores["baseline"]["czsl"], 0.845)
    assert scores["h"] >= max(scores["baseline"]["h"], 0.796)


@pytest.mark.parametrize("part", ["hga", "mim"])
def test_each_part_decides_at_least_one_photograph_in_twenty(
    birds_bundle: Path, birds_dir: Path, part: str
) -> None:
    changed = evaluation(birds_bundle, birds_dir, part).changed
    assert changed is not None
    assert changed >= 0.05
