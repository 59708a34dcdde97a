"""Resumable states: what was saved comes back, and a damaged file is told in words."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from model.errors import WeightsError
from model.training.checkpoint import load_state, read_extra, save_state


def a_step_in(seed: int) -> tuple[nn.Linear, torch.optim.AdamW]:
    """A network and its optimizer, which has moments by now."""
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(3)).sum().backward()
    optimizer.step()
    return network, optimizer


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    save_state(path, *a_step_in(seed=0), {"epochs": [1]})
    return path


def test_a_state_comes_back_as_it_was_saved(state: Path) -> None:
    saved, trained = a_step_in(seed=0)
    network, optimizer = a_step_in(seed=1)

    assert load_state(state, network, optimizer) == read_extra(state) == {"epochs": [1]}

    torch.testing.assert_close(network.state_dict(), saved.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(
        optimizer.state_dict()["state"], trained.state_dict()["state"], rtol=0, atol=0
    )


def test_where_there_is_no_file_there_is_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none", *a_step_in(seed=0)) is None
    assert read_extra(tmp_path / "none") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes(100) + data[100:],
        lambda data: b"x" * len(data),
        lambda data: save({"network/weight": torch.zeros(2, 3), "network/bias": torch.zeros(2)}),
    ],
    ids=["empty", "cut", "zeroed", "text", "no extra"],
)
def test_a_damaged_state_is_named_with_what_to_do(
    state: Path, damage: Callable[[bytes], bytes]
) -> None:
    state.write_bytes(damage(state.read_bytes()))

    for read in (lambda: load_state(state, *a_step_in(seed=0)), lambda: read_extra(state)):
        with pytest.raises(WeightsError, match=rf"{state} can't be used .* Delete it"):
            read()


def test_the_state_of_another_network_is_refused(state: Path) -> None:
    network = nn.Linear(3, 5)
    with pytest.raises(WeightsError, match=rf"(?s){state} can't be used .*\ssize mismatch"):
        load_state(state, network, torch.optim.AdamW(network.parameters()))
