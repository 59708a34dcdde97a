"""Passes of fixed sizes, with networks that are written out here."""

import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from model.errors import DeviceOutOfMemory
from model.runtime.torch_passes import Passes

CPU = torch.device("cpu")
SHAPE = (2, 2, 3)


class Sums:
    """Each image's sum and its maximum; remembers the sizes of batches, and refuses large ones."""

    def __init__(self, at_most: int = 1000) -> None:
        self.sizes: list[int] = []
        self.at_most = at_most

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        self.sizes.append(len(images))
        if len(images) > self.at_most:
            raise torch.OutOfMemoryError(f"{len(images)} are too many")
        rows = images.flatten(1).double()
        return rows.sum(dim=1, keepdim=True), rows.max(dim=1).values


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *SHAPE), np.uint8)


def check(found: list[np.ndarray], batch: np.ndarray) -> None:
    flat = batch.reshape(len(batch), -1)
    assert found[0].tolist() == [[float(row.sum())] for row in flat]
    assert found[1].tolist() == [float(row.max()) for row in flat]
    assert all(array.dtype == np.float32 for array in found)


@pytest.mark.parametrize(
    ("count", "ran"),
    [(1, [1]), (2, [2]), (3, [4]), (5, [8]), (8, [8]), (9, [8, 1]), (21, [8, 8, 8])],
)
def test_a_batch_is_padded_to_the_next_size_and_the_answer_is_cut(
    count: int, ran: list[int]
) -> None:
    network = Sums()

    found = Passes(network, SHAPE, CPU, sizes=(1, 2, 4, 8)).run(images(count))

    assert network.sizes == ran
    check(found, images(count))


def test_a_cpu_pads_nothing_unless_told() -> None:
    network = Sums()
    passes = Passes(network, SHAPE, CPU)

    for count in (5, 64, 70):
        check(passes.run(images(count)), images(count))

    assert network.sizes == [5, 64, 64, 6]


def test_what_a_larger_batch_left_behind_is_not_seen_by_a_smaller_one() -> None:
    last: list[Tensor] = []

    def network(batch: Tensor) -> tuple[Tensor, ...]:
        last.append(batch.clone())
        return (batch.flatten(1).sum(dim=1),)

    passes = Passes(network, SHAPE, CPU, sizes=(4,))
    first = passes.run(images(4))[0]
    kept = first.copy()
    passes.run(images(1))

    assert last[1][1:].count_nonzero() == 0
    assert first.tolist() == kept.tolist()


@pytest.mark.parametrize("at_most", [1, 2, 3, 7])
def test_a_batch_that_is_too_large_for_the_memory_is_halved_until_it_fits(at_most: int) -> None:
    network = Sums(at_most)

    found = Passes(network, SHAPE, CPU).run(images(13))

    assert network.sizes[0] == 13
    check(found, images(13))


def test_padding_does_not_keep_a_batch_from_being_halved_down_to_one() -> None:
    network = Sums(1)

    found = Passes(network, SHAPE, CPU, sizes=(1, 2, 4)).run(images(3))

    assert network.sizes == [4, 1, 2, 1, 1]
    check(found, images(3))


def test_an_image_that_does_not_fit_alone_is_an_error_of_our_own_and_the_next_may_fit() -> None:
    network = Sums(0)
    passes = Passes(network, SHAPE, CPU)

    with pytest.raises(DeviceOutOfMemory, match="cpu hasn't the memory for a single image"):
        passes.run(images(4))
    network.at_most = 4

    check(passes.run(images(4)), images(4))


def test_another_error_is_raised_as_it_is_and_the_slot_is_used_again() -> None:
    broken = True
    buffers: set[int] = set()

    def network(batch: Tensor) -> tuple[Tensor, ...]:
        buffers.add(batch.data_ptr())
        if broken:
            raise RuntimeError("not of memory")
        return (batch.flatten(1).sum(dim=1),)

    passes = Passes(network, SHAPE, CPU)
    with pytest.raises(RuntimeError, match="not of memory"):
        passes.run(images(2))
    broken = False
    passes.run(images(2))

    assert len(buffers) == 1


def test_callers_at_the_same_time_have_buffers_of_their_own() -> None:
    together = threading.Barrier(3, timeout=20)

    def network(batch: Tensor) -> tuple[Tensor, ...]:
        together.wait()  # all three have filled their buffers now
        return batch.flatten(1).double().sum(dim=1, keepdim=True), batch.flatten(1).amax(dim=1)

    passes = Passes(network, SHAPE, CPU)
    batches = [images(4) // (number + 1) for number in range(3)]
    found: dict[int, list[np.ndarray]] = {}

    def call(number: int) -> None:
        found[number] = passes.run(batches[number])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, batch in enumerate(batches):
        check(found[number], batch)
