"""A configuration small enough to train in seconds."""

import pytest
import torch

from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig, PrototypeConfig
from model.training.config import MIMTrainingConfig, TrainingConfig


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_config() -> TrainingConfig:
    """Seconds, not minutes."""
    return TrainingConfig(
        model=ModelConfig(
            backbone=BackboneConfig(input_size=64),
            hga=HGAConfig(channels=(8, 8, 8)),
            mim=MIMConfig(width=32, state=8, head_width=16),
            prototypes=PrototypeConfig(embedding_dim=16),
        ),
        mim=MIMTrainingConfig(epochs=2, batch_size=8),
    )
