"""The torch backend on a CPU: what it computes, how exactly, and what it refuses."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import BackendUnavailable, DeviceOutOfMemory, WeightsError
from model.runtime import torch_precision
from model.runtime.torch_backend import TorchBackend, load_network
from tests.networks import write_small_bundle

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3), np.uint8)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [None, (1, 2, 4)])
@pytest.mark.parametrize("count", [1, 3, 11])
def test_it_computes_what_the_network_computes(
    bundle: Bundle, sizes: tuple[int, ...] | None, count: int
) -> None:
    backend = TorchBackend(bundle, "cpu", "auto", 0, sizes=sizes)
    batch = images(count)
    expected = load_network(bundle)(torch.from_numpy(batch))

    embedded = backend.embed(batch)

    np.testing.assert_allclose(embedded.embedding, expected.embedding, atol=5e-5)
    np.testing.assert_allclose(embedded.attributes, expected.attributes, atol=1e-3)
    np.testing.assert_allclose(embedded.maps, expected.maps, atol=5e-5)
    assert all(part.dtype == np.float32 for part in embedded)


@torch.no_grad()
def test_prototypes_are_the_networks(bundle: Bundle) -> None:
    sheets = np.random.default_rng(1).uniform(0, 100, (5, 9)).astype(np.float32)
    expected = load_network(bundle).prototypes(torch.from_numpy(sheets))

    prototypes = TorchBackend(bundle, "cpu", "bf16", 0).prototypes(sheets)

    np.testing.assert_allclose(prototypes, expected, atol=1e-6)


def test_an_image_gets_the_same_answer_in_batches_of_every_size(bundle: Bundle) -> None:
    backend = TorchBackend(bundle, "cpu", "fp32", 0, sizes=(1, 2, 4, 8))
    batch = images(13)
    alone = [backend.embed(batch[i : i + 1]).embedding[0] for i in range(13)]

    for count in range(1, 14):
        together = backend.embed(batch[:count]).embedding
        np.testing.assert_allclose(together, alone[:count], atol=5e-5)


def test_bf16_runs_the_convolutions_alone_in_16_bits(bundle: Bundle) -> None:
    network = torch_precision.prepare(load_network(bundle), "bf16", CPU)
    kinds: dict[str, set[torch.dtype]] = {"convolution": set(), "head": set()}

    def note(kind: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                kinds[kind].add(output.dtype)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note("convolution"))
        elif not name.startswith("backbone") and not list(module.children()):
            module.register_forward_hook(note("head"))
    with torch.no_grad():
        features = network.features(torch.from_numpy(images(2)))
        output = network.head(features)

    assert kinds == {"convolution": {torch.bfloat16}, "head": {torch.float32}}
    assert features.pooled.dtype == torch.float32
    assert {part.dtype for part in output} == {torch.float32}
    assert {w.dtype for n, w in network.named_parameters() if "backbone" not in n} == {
        torch.float32
    }


def test_bf16_gives_nearly_the_embedding_of_float32(bundle: Bundle) -> None:
    batch = images(6)
    exact = TorchBackend(bundle, "cpu", "fp32", 0).embed(batch).embedding
    backend = TorchBackend(bundle, "cpu", "bf16", 0)

    cosines = (backend.embed(batch).embedding * exact).sum(axis=1)

    assert backend.info.precision == "bf16"
    assert cosines.min() > 0.9  # random weights amplify what trained ones don't
    assert not np.array_equal(backend.embed(batch).embedding, exact)


def test_convolutions_are_laid_out_channels_last(bundle: Bundle) -> None:
    network = torch_precision.prepare(load_network(bundle), "fp32", CPU)
    seen = []
    for module in network.backbone.modules():
        assert not isinstance(module, nn.BatchNorm2d)
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
    with torch.no_grad():
        network.features(torch.from_numpy(images(2)))

    assert seen
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


def test_several_threads_get_each_their_own_answers(bundle: Bundle) -> None:
    backend = TorchBackend(bundle, "cpu", "fp32", 1, sizes=(1, 2, 4))
    batches = [images(count) for count in (1, 2, 3, 4, 5, 6)]
    expected = [backend.embed(batch).embedding for batch in batches]
    wrong: list[int] = []

    def call(number: int) -> None:
        for _ in range(5):
            found = backend.embed(batches[number]).embedding
            if not np.allclose(found, expected[number], atol=5e-5):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@pytest.mark.parametrize(
    ("supported", "expected"), [(True, "bf16"), (False, "fp16")], ids=["new", "old"]
)
def test_auto_takes_bf16_where_a_gpu_has_it_and_else_fp16(
    monkeypatch: pytest.MonkeyPatch, supported: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)

    assert torch_precision.choose("auto", CUDA) == expected
    assert torch_precision.choose("auto", CPU) == "fp32"
    assert torch_precision.choose("fp32", CUDA) == "fp32"


@pytest.mark.parametrize(
    ("device", "precision", "words"),
    [
        ("cpu", "int8", "ONNX backend"),
        ("cpu", "fp7", "not 'fp7'"),
        ("cpu", "fp16", "needs a CUDA device"),
        ("abacus", "auto", "no device 'abacus'"),
    ],
)
def test_what_it_can_not_run_is_refused_in_words(
    bundle: Bundle, device: str, precision: str, words: str
) -> None:
    with pytest.raises(BackendUnavailable, match=words):
        TorchBackend(bundle, device, precision, 0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1000] + bytes(1000),
        lambda data: data[: len(data) // 2],
    ],
    ids=["zeroed", "cut"],
)
def test_damaged_weights_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    damaged = write_small_bundle(tmp_path / "small")
    file = damaged.path / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsError, match=r"model\.safetensors has sha256 .* get it again"):
        TorchBackend(damaged, "cpu", "auto", 0)


def test_missing_weights_are_told_with_what_to_do(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    (bundle.path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"can't be read .*train it again"):
        load_network(bundle)


@pytest.mark.parametrize(
    "weights",
    [b"", b"no safetensors", save({"other": torch.zeros(1)})],
    ids=["empty", "text", "others"],
)
def test_a_manifest_that_was_made_of_other_weights_makes_them_no_better(
    tmp_path: Path, weights: bytes
) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    (bundle.path / "model.safetensors").write_bytes(weights)
    wrong = bundles.write(bundle.path, bundle.manifest, bundle.classes)
    with pytest.raises(
        WeightsError, match=r"doesn't hold this bundle's weights\. .*train it again"
    ):
        load_network(wrong)


def test_cuda_is_refused_where_there_is_none(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match="sees no CUDA"):
        TorchBackend(bundle, "cuda", "auto", 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BackendUnavailable, match="sees 1 CUDA"):
        TorchBackend(bundle, "cuda:1", "auto", 0)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 32, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
    ],
    ids=["floats", "one image", "small", "none"],
)
def test_other_images_are_refused(bundle: Bundle, batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        TorchBackend(bundle, "cpu", "fp32", 0).embed(batch)


def test_a_network_that_the_device_has_no_memory_for_is_said_in_words(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.nn.Module, "to", full)

    with pytest.raises(DeviceOutOfMemory, match="cpu hasn't the memory for the network"):
        TorchBackend(bundle, "cpu", "fp32", 0)


def test_a_closed_backend_answers_no_more(bundle: Bundle, tmp_path: Path) -> None:
    backend = TorchBackend(bundle, "cpu", "fp32", 0)
    backend.close()

    with pytest.raises(RuntimeError, match="closed"):
        backend.embed(images(1))
    with pytest.raises(RuntimeError, match="closed"):
        backend.prototypes(np.zeros((1, 9), np.float32))
    with pytest.raises(ValueError, match=r"expected \(C, 9\)"):
        TorchBackend(bundle, "cpu", "fp32", 0).prototypes(np.zeros((1, 8), np.float32))
