"""Which features one cache holds, of networks that read other maps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.read import read
from model.data.types import ZeroShotData
from model.errors import ConfigError
from model.nn.umzero import UMZero
from model.training.config import TrainingConfig
from model.training.features import FeatureStore, extract
from model.training.heads import fresh_network
from model.training.training_run import attribute_space


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    """A few of its images."""
    data = read(shapes_dir)
    return replace(data, images=data.images[:12], labels=data.labels[:12], train=data.train[:4])


@pytest.fixture(scope="module")
def whole(small_config: TrainingConfig, data: ZeroShotData) -> UMZero:
    return fresh_network(small_config.model, attribute_space(data), len(data.seen), 0)


@pytest.fixture(scope="module")
def without_hga(small_config: TrainingConfig, data: ZeroShotData) -> UMZero:
    model = small_config.model
    model = replace(model, hga=replace(model.hga, enabled=False))
    return fresh_network(model, attribute_space(data), len(data.seen), 0)


def test_a_network_that_reads_more_maps_finds_none_of_zeros_after_one_that_reads_fewer(
    data: ZeroShotData, whole: UMZero, without_hga: UMZero, tmp_path: Path
) -> None:
    fewer = extract(without_hga, data, tmp_path)

    store: FeatureStore = extract(whole, data, tmp_path)

    assert set(store.maps) > set(fewer.maps)
    for stage, maps in extract(whole, data, tmp_path / "alone").maps.items():
        assert maps.any(axis=(1, 2, 3)).all()
        np.testing.assert_array_equal(store.maps[stage], maps)


def test_networks_that_read_the_same_maps_share_a_cache(
    small_config: TrainingConfig, data: ZeroShotData, whole: UMZero, tmp_path: Path
) -> None:
    extract(whole, data, tmp_path)
    # HGA and a second look read what MIM reads.
    model = replace(small_config.model, mim=replace(small_config.model.mim, enabled=False))
    network = fresh_network(model, attribute_space(data), len(data.seen), 0)
    told: list[int] = []

    extract(network, data, tmp_path, lambda done, _: told.append(done))

    assert told == [16]  # photographs and second views, all of them there


def test_a_cache_that_has_lost_a_file_is_refused_and_not_filled_with_zeros(
    data: ZeroShotData, whole: UMZero, tmp_path: Path
) -> None:
    extract(whole, data, tmp_path)
    (lost,) = tmp_path.glob("features-*/block13.npy")
    lost.unlink()

    with pytest.raises(ConfigError, match=f"delete {lost.parent}, and all are computed again"):
        extract(whole, data, tmp_path)

    assert not lost.exists()
