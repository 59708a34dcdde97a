"""Every backbone gives the maps that it announces, and is what it is called."""

from urllib.error import URLError

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from model.config import BackboneConfig
from model.errors import BackendUnavailable, ConfigError, WeightsError
from model.nn.backbone import NAMES, build_backbone, fold_batch_norm
from model.nn.efficientnet_lite import EfficientNetLite, load_imagenet
from model.nn.torchvision_compat import import_torchvision

DEEPEST = {
    "efficientnet_lite0": "block15",
    "efficientnet_lite1": "block20",
    "efficientnet_lite2": "block20",
}


def _images(count, side):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side)) * 255


def _shake_norms(module):
    """Statistics as after training, so that folding them away has something to do."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.1)
    return module


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_announced_channels_and_grids(name, side):
    lite = name in DEEPEST
    stages = ("head", "block3", DEEPEST[name]) if lite else ("layer4", "layer1", "layer3")
    backbone = build_backbone(BackboneConfig(name, side, stages), pretrained=False).eval()
    with torch.no_grad():
        maps = backbone(_images(1, side))
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, *grid)
        for channels, grid in zip(backbone.channels, backbone.grids, strict=True)
    ]
    assert backbone.grids[0] == (-(-side // 32),) * 2  # stride 32, rounded up


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_goes_on_from_the_map_of_any_stage(name):
    lite = name in DEEPEST
    stages = ("block3", DEEPEST[name], "head") if lite else ("layer1", "layer3", "layer4")
    backbone = build_backbone(BackboneConfig(name, 64, stages), pretrained=False).eval()
    with torch.no_grad():
        whole = dict(zip(stages, backbone(_images(1, 64)), strict=True))
        for at, stage in enumerate(stages):
            found = backbone.resume(stage, whole[stage])
            assert tuple(found) == stages[at + 1 :]
            for later, maps in found.items():
                torch.testing.assert_close(maps, whole[later])


def test_the_default_configuration_reads_14x14_and_7x7():
    backbone = build_backbone(BackboneConfig(), pretrained=False)
    assert backbone.channels == (112, 192, 320, 1280)
    assert backbone.grids == ((14, 14), (7, 7), (7, 7), (7, 7))


def test_what_no_stage_needs_is_left_out():
    full = build_backbone(BackboneConfig(stages=("head",)), pretrained=False)
    shallow = build_backbone(BackboneConfig(stages=("block4", "block2")), pretrained=False)
    assert not any(key.startswith(("head", "blocks.5")) for key in shallow.state_dict())
    torch.manual_seed(0)
    shallow.load_state_dict(
        {k: v for k, v in full.state_dict().items() if k in shallow.state_dict()}
    )
    images = _images(1, 64)
    read = []
    full.blocks[4].register_forward_hook(lambda module, given, output: read.append(output))
    with torch.no_grad():
        full.eval()(images)
        deep, _ = shallow.eval()(images)
    assert torch.equal(deep, read[0])


def test_pretrained_maps_are_those_of_the_imagenet_classifier():
    network = EfficientNetLite("efficientnet_lite0", classifier=True).eval()
    load_imagenet(network)
    backbone = build_backbone(BackboneConfig(input_size=96, stages=("block0", "head"))).eval()
    images = _images(2, 96)
    with torch.no_grad():
        _, head = backbone(images)
        expected = network((images - 127) / 128)
        torch.testing.assert_close(network.classifier(head.mean((2, 3))), expected)


def test_a_resnet_s_maps_are_those_of_torchvision_with_its_own_preprocessing(tmp_path):
    models = import_torchvision("models")
    transforms = import_torchvision("transforms.v2")
    reference = _shake_norms(models.resnet50(weights=None)).eval()
    torch.save(reference.state_dict(), tmp_path / "resnet50.pth")
    config = BackboneConfig("resnet50", 64, ("layer3", "layer4"))
    backbone = build_backbone(config, weights=tmp_path / "resnet50.pth").eval()
    images = _images(2, 64)
    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        _, deepest = backbone(images)
        actual = reference.fc(deepest.mean((2, 3)))
        torch.testing.assert_close(actual, reference(normalise(images / 255)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
def test_folding_changes_no_map_and_leaves_no_normalisation(name):
    stages = ("block10", "head") if name in DEEPEST else ("layer2", "layer4")
    backbone = build_backbone(BackboneConfig(name, 32, stages), pretrained=False).double()
    _shake_norms(backbone).eval()
    folded = fold_batch_norm(backbone)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    images = _images(1, 32).double()
    with torch.no_grad():
        for actual, expected in zip(folded(images), backbone(images), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_folding_leaves_a_normalisation_alone_that_follows_no_convolution():
    sequence = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    _shake_norms(sequence)
    folded = fold_batch_norm(sequence)
    assert [type(m) for m in folded] == [type(m) for m in sequence]
    images = _images(1, 8)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), sequence.eval()(images))


def test_the_exported_graph_computes_the_same_for_any_batch(tmp_path):
    config = BackboneConfig(input_size=75, stages=("block4", "block11"))
    backbone = fold_batch_norm(_shake_norms(build_backbone(config, pretrained=False)))
    images = _images(3, 75)
    program = torch.onnx.export(
        backbone,
        (images[:2],),
        dynamo=True,
        input_names=["images"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    kinds = {node.op_type for node in program.model.graph}
    assert kinds <= {"Sub", "Div", "Mul", "Pad", "Conv", "Clip", "Relu", "Min", "Add"}, kinds
    path = tmp_path / "backbone.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        actual = session.run(None, {"images": images[:batch].numpy()})
        with torch.no_grad():
            expected = backbone(images[:batch])
        for got, wanted in zip(actual, expected, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_the_state_dict_holds_no_constants():
    lite = build_backbone(BackboneConfig(), pretrained=False).state_dict()
    resnet = build_backbone(BackboneConfig("resnet50", 64, ("layer1",)), pretrained=False)
    assert not {"mean", "std"} & {*lite, *resnet.state_dict()}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (BackboneConfig("vgg16"), "resnet101"),
        (BackboneConfig(stages=("block16",)), "block15, head"),
        (BackboneConfig("resnet50", 224, ("head",)), "layer4"),
        (BackboneConfig("resnet50", 224, ()), "layer4"),
        (BackboneConfig(input_size=0), "at least 1 pixel"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(config, named):
    with pytest.raises(ConfigError, match=named):
        build_backbone(config, pretrained=False)


def test_a_resnet_whose_weights_cannot_be_downloaded_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(BackendUnavailable, match=r"resnet101-\w+\.pth .*no route.*`weights`"):
        build_backbone(BackboneConfig("resnet101", 224, ("layer4",)))


def test_a_resnet_s_weights_that_do_not_fit_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth doesn't fit resnet50"):
        build_backbone(BackboneConfig("resnet50", 224, ("layer1",)), weights=tmp_path / "other.pth")
