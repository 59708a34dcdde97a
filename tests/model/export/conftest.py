"""A configuration small enough to train in seconds."""

import pytest

from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig, PrototypeConfig
from model.training.config import MIMTrainingConfig, TrainingConfig


@pytest.fixture(scope="session")
def small_config() -> TrainingConfig:
    return TrainingConfig(
        model=ModelConfig(
            backbone=BackboneConfig(input_size=64),
            hga=HGAConfig(channels=(8, 8)),
            mim=MIMConfig(width=16, state=4, head_width=8),
            prototypes=PrototypeConfig(embedding_dim=16),
        ),
        mim=MIMTrainingConfig(epochs=1, batch_size=8),
    )
