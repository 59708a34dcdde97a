from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig, PrototypeConfig
from model.errors import ConfigError
from model.nn.umzero import AttributeLayout, UMZero

SMALL = ModelConfig(
    backbone=BackboneConfig(input_size=64),
    hga=HGAConfig(channels=(6, 5, 5)),
    mim=MIMConfig(width=32, state=8, head_width=16),
    prototypes=PrototypeConfig(embedding_dim=5),
)
LAYOUT = AttributeLayout((0, 0, 1, 1, 2, 2, 2), torch.zeros(7), torch.full((7,), 100.0))


def network(config: ModelConfig = SMALL) -> UMZero:
    torch.manual_seed(0)
    return UMZero(config, LAYOUT, pretrained=False).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))


@torch.no_grad()
def test_images_become_unit_embeddings_attribute_scores_and_maps(images: torch.Tensor) -> None:
    output = network()(images)
    assert output.embedding.shape == (3, 5)
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(3))
    assert output.attributes.shape == (3, 7)
    assert output.attributes.min() >= 0
    assert output.attributes.max() <= 100
    assert output.maps.shape == (3, 3, 2, 2)


@torch.no_grad()
@pytest.mark.parametrize("part", ["hga", "mim"])
def test_a_part_that_is_switched_off_is_not_there(images: torch.Tensor, part: str) -> None:
    config = replace(SMALL, **{part: replace(getattr(SMALL, part), enabled=False)})
    without = network(config)
    assert not any(name.startswith(part + ".") for name in without.state_dict())
    output = without(images)
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(output.maps.sum(dim=(2, 3)), torch.ones(3, 3))


@torch.no_grad()
@pytest.mark.parametrize("part", ["hga", "mim"])
def test_leaving_a_part_out_for_once_changes_the_embedding(images: torch.Tensor, part: str) -> None:
    full = network()
    assert (full(images).embedding - full(images, without=part).embedding).abs().max() > 1e-3


@torch.no_grad()
def test_without_hga_and_mim_only_pooled_features_speak(images: torch.Tensor) -> None:
    full = network()
    features = full.features(images)
    pooled = features.pooled.clamp_min(1e-12).sqrt()
    pooled = pooled / pooled.norm(dim=1, keepdim=True)
    expected = pooled @ full.global_head.weight[:, : pooled.shape[1]].T
    full.mim_weight.zero_()
    actual = full.head(features, without="hga").embedding
    torch.testing.assert_close(actual, expected / expected.norm(dim=1, keepdim=True))


def test_a_configuration_survives_json_and_a_wrong_one_is_refused() -> None:
    assert ModelConfig.from_json(SMALL.to_json()) == SMALL
    broken = SMALL.to_json()
    broken["hga"]["chanels"] = [3]
    with pytest.raises(ConfigError, match="chanels"):
        ModelConfig.from_json(broken)
