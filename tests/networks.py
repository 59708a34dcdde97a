"""A small bundle with a network of random weights, for tests of the torch backend."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import bundle as bundles
from model.bundle import Bundle
from model.config import BackboneConfig, HGAConfig, MIMConfig, ModelConfig, PrototypeConfig
from model.nn.umzero import AttributeLayout, UMZero
from model.runtime.fake import write_fake_bundle

CONFIG = ModelConfig(
    backbone=BackboneConfig(input_size=64),
    hga=HGAConfig(channels=(6, 5, 5)),
    mim=MIMConfig(width=32, state=8, head_width=16),
    prototypes=PrototypeConfig(embedding_dim=5),
)


def write_small_bundle(path: Path) -> Bundle:
    """The attributes of `write_fake_bundle`, images of 64 x 64, embeddings of length 5."""
    fake = write_fake_bundle(path, input_size=CONFIG.backbone.input_size)
    torch.manual_seed(0)
    network = UMZero(CONFIG, AttributeLayout.of(fake.manifest.attributes), pretrained=False)
    settle(network, CONFIG.backbone.input_size)
    save_file(network.state_dict(), path / "model.safetensors")
    manifest = replace(fake.manifest, network=CONFIG.to_json(), embedding_dim=5, grid=network.grid)
    return bundles.write(path, manifest, fake.classes)


def settle(network: UMZero, size: int) -> None:
    """Give random weights such batch normalisations as training leaves, so that every depth sees
    values of an ordinary size."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.3)
    with torch.no_grad():
        network.train().features(torch.randint(0, 256, (32, size, size, 3), dtype=torch.uint8))
