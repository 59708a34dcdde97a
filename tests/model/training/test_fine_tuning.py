"""Fine-tuning of the last blocks, on drawn images: what learns, what stays, what is read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.read import read
from model.data.types import ZeroShotData
from model.nn.backbone import fold_batch_norm
from model.nn.umzero import UMZero
from model.training.config import TrainingConfig
from model.training.features import FeatureStore, extract
from model.training.fine_tuning import FineTuning, features_of, fine_tune
from model.training.folds import folds
from model.training.heads import GlobalHead, fresh_network, training_set
from model.training.systems import Fold
from model.training.training_run import attribute_space
from model.training.tuned_systems import TUNED

CONFIG = FineTuning("block10", epochs=2, learning_rate=1e-3, batch_size=16)


@pytest.fixture(scope="module")
def data(shapes_dir: Path) -> ZeroShotData:
    return read(shapes_dir)


@pytest.fixture(scope="module")
def store(
    data: ZeroShotData, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> FeatureStore:
    network = fresh_network(small_config.model, attribute_space(data), len(data.seen), 0)
    return extract(network, data, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def network(data: ZeroShotData, small_config: TrainingConfig, store: FeatureStore) -> UMZero:
    network = fresh_network(small_config.model, attribute_space(data), len(data.seen), 0)
    GlobalHead(network, training_set(data, store, data.seen)).fit(1.0, 1.0)
    return network


def test_features_of_an_untouched_backbone_are_those_of_the_store(
    data: ZeroShotData, store: FeatureStore, network: UMZero
) -> None:
    rows = data.train[:20]
    found = features_of(network, store, rows, CONFIG)
    # Through maps that were rounded to half precision.
    np.testing.assert_allclose(found.pooled[rows], store.pooled[rows], rtol=0.02, atol=0.02)
    for stage, maps in store.maps.items():
        np.testing.assert_allclose(found.maps[stage][rows], maps[rows], rtol=0.05, atol=0.05)
    others = np.setdiff1d(np.arange(len(store.pooled)), rows)
    assert np.isnan(found.pooled[others]).all()  # what was not computed can't be taken for real
    assert found.maps["block10"] is store.maps["block10"]


def test_the_loss_falls_the_early_blocks_stay_and_half_way_is_the_mean(
    data: ZeroShotData, store: FeatureStore, network: UMZero
) -> None:
    sheets = torch.from_numpy(data.class_attributes[list(data.seen)])
    with torch.no_grad():
        prototypes = network.prototypes(sheets)
    training = training_set(data, store, data.seen, 1)

    def loss() -> float:
        tuned = features_of(network, store, data.train, CONFIG)
        with torch.no_grad():
            embedding = network.global_embedding(tuned.read(data.train))
        return torch.nn.functional.cross_entropy(
            embedding @ prototypes.T / 0.1, training.labels
        ).item()

    # The closed form knows these few drawings by heart; a head that doesn't has to learn.
    torch.manual_seed(0)
    torch.nn.init.normal_(network.global_head.weight)
    pretrained = dict(fold_batch_norm(network.backbone).named_parameters())
    before = loss()
    steps = fine_tune(network, store, data.train, training.labels, prototypes, CONFIG, 0.1, seed=0)
    found = []
    for key in steps:
        state = {n: p.detach().clone() for n, p in network.backbone.named_parameters()}
        found.append((key, loss(), state))
    assert [key for key, *_ in found] == [(1, 1.0), (2, 1.0), (2, 0.5)]
    assert found[1][1] < found[0][1] < before

    whole, half = found[1][2], found[2][2]
    first = found[0][2]
    changed = {name for name in whole if not torch.equal(whole[name], half[name])}
    assert changed == {name for name in whole if not torch.equal(whole[name], first[name])}
    early = {
        name for name in whole if name.startswith(("stem", *(f"blocks.{k}." for k in range(11))))
    }
    assert early
    assert changed == whole.keys() - early
    for name, value in half.items():
        torch.testing.assert_close(value, (pretrained[name] + whole[name]) / 2)


def test_fine_tuned_systems_score_every_epoch_and_half_way(
    data: ZeroShotData, store: FeatureStore, small_config: TrainingConfig, tmp_path: Path
) -> None:
    task = folds(data, 3, 0)[0]
    fold = Fold(task, 0, 0, data, attribute_space(data), store, small_config, tmp_path)
    for system in TUNED.values():
        found = system(fold)
        ways = {way for way, _ in found}
        assert ways == {(1, 1.0), (2, 1.0), (3, 1.0), (3, 0.5)}
        for scores in found.values():
            assert all(0 <= value <= 1 for value in scores.czsl.values())
            assert np.isfinite(scores.u).all()
