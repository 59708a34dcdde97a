"""The torch backend on a CUDA device, against the network on the CPU."""

import threading

import numpy as np
import pytest
import torch

from model.bundle import Bundle
from model.errors import DeviceOutOfMemory
from model.runtime.torch_backend import TorchBackend, load_network
from model.runtime.torch_passes import SIZES, Passes
from tests.networks import write_small_bundle

pytestmark = pytest.mark.gpu

SHAPE = (2, 2, 3)


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3), np.uint8)


def on_cpu(bundle: Bundle, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        embedding: np.ndarray = load_network(bundle)(torch.from_numpy(batch)).embedding.numpy()
    return embedding


@pytest.mark.parametrize("count", [1, 3, 64, 70])
def test_float32_on_cuda_computes_what_the_cpu_computes(bundle: Bundle, count: int) -> None:
    backend = TorchBackend(bundle, "cuda", "fp32", 0)

    embedding = backend.embed(images(count)).embedding

    np.testing.assert_allclose(embedding, on_cpu(bundle, images(count)), atol=2e-3)
    backend.close()


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
def test_16_bits_give_nearly_the_embedding_of_float32(bundle: Bundle, precision: str) -> None:
    backend = TorchBackend(bundle, "cuda", precision, 0)

    cosines = (backend.embed(images(9)).embedding * on_cpu(bundle, images(9))).sum(axis=1)

    assert backend.info.precision in ("bf16", "fp16")
    assert cosines.min() > 0.98
    backend.close()


def test_every_size_is_a_recorded_graph(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    backend = TorchBackend(bundle, "cuda", "auto", 0)

    assert backend._loaded is not None
    assert backend._loaded[1].sizes == SIZES
    assert [record for record in caplog.records if "no CUDA graph" in record.getMessage()] == []
    backend.close()


def test_threads_that_call_at_the_same_time_get_their_own_answers(bundle: Bundle) -> None:
    backend = TorchBackend(bundle, "cuda", "fp32", 0)
    batches = [images(count) for count in (1, 2, 7, 16, 40, 64)]
    expected = [backend.embed(batch).embedding for batch in batches]
    wrong: list[int] = []

    def call(number: int) -> None:
        for _ in range(20):
            found = backend.embed(batches[number]).embedding
            if not np.allclose(found, expected[number], atol=1e-4):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    backend.close()


def test_sizes_that_the_memory_does_not_hold_are_left_out() -> None:
    def network(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(batch) > 4:
            raise torch.OutOfMemoryError
        return (batch.flatten(1).sum(dim=1),)

    passes = Passes(network, SHAPE, torch.device("cuda"))
    batch = np.arange(13 * 12, dtype=np.uint8).reshape(13, *SHAPE)

    assert passes.sizes == (1, 2, 4)
    assert passes.run(batch)[0].tolist() == batch.reshape(13, -1).sum(axis=1).tolist()


def test_a_network_that_can_not_be_recorded_runs_without_a_graph() -> None:
    def network(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # Waiting for the device is not allowed while recording.
        return (batch.flatten(1).sum(dim=1) + int(batch.new_zeros(1).item()),)

    passes = Passes(network, SHAPE, torch.device("cuda"), sizes=(1, 2))
    batch = np.arange(3 * 12, dtype=np.uint8).reshape(3, *SHAPE)

    assert passes.run(batch)[0].tolist() == batch.reshape(3, -1).sum(axis=1).tolist()


def test_a_device_without_memory_for_one_image_is_told() -> None:
    def network(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise torch.OutOfMemoryError

    with pytest.raises(DeviceOutOfMemory, match="a single image"):
        Passes(network, SHAPE, torch.device("cuda"))
