import pytest
import torch

from model.config import MIMConfig
from model.errors import ConfigError
from model.nn.mim import MIM, VisualTokens

CHANNELS = {"fine": 5, "coarse": 6}
GRIDS = {"fine": (4, 4), "coarse": (2, 2)}
TOKENS = (0, 0, 1, 1, 1, 2)


def module(**changes: object) -> MIM:
    torch.manual_seed(0)
    config = MIMConfig(
        **({"stages": ("coarse",), "width": 32, "state": 8, "head_width": 16} | changes)
    )
    return MIM(config, CHANNELS, GRIDS, TOKENS).eval()


def maps(batch: int = 2) -> dict[str, torch.Tensor]:
    return {s: torch.randn(batch, CHANNELS[s], *GRIDS[s]) for s in CHANNELS}


def test_it_predicts_every_attribute_and_says_where_each_token_looked() -> None:
    interaction = module()(maps(3))
    assert interaction.slots.shape == (3, 3 * 3)  # the largest token's attributes for each
    assert interaction.maps.shape == (3, 3, 2, 2)
    torch.testing.assert_close(interaction.maps.sum(dim=(2, 3)), torch.ones(3, 3))


@torch.no_grad()
def test_a_linear_map_of_the_attributes_reads_them_in_their_tokens_slots() -> None:
    mim = module()
    slots, rows = mim(maps(3)).slots, torch.randn(4, 6)
    places = [0, 1, 3, 4, 5, 6]  # three slots a token; the tokens have 2, 3 and 1 attributes
    expected = slots[:, places] @ rows.T
    torch.testing.assert_close(slots @ mim.to_slots(rows).T, expected)
    assert slots[:, [2, 7, 8]].count_nonzero() == 0


@torch.no_grad()
def test_cells_of_a_finer_map_make_a_token_of_the_coarse_grid() -> None:
    mim = module(stages=("fine", "coarse"))
    fine = mim.visual["fine"]
    assert isinstance(fine, VisualTokens)
    inputs = maps(1)
    cell = inputs["fine"][0, :, 2:4, 0:2]  # the third position: lower left
    expected = (fine.project.weight * cell).sum(dim=(1, 2, 3))
    torch.testing.assert_close(fine(inputs["fine"])[0, :, 1, 0], expected)


@torch.no_grad()
def test_scaled_channels_count_alike_whatever_their_deviation() -> None:
    mim, inputs = module(stages=("fine", "coarse")), maps(50)
    mim.scale_visual_tokens(inputs)
    expected = mim(inputs)
    loud = {
        stage: m * torch.logspace(-1, 2, m.shape[1])[:, None, None] for stage, m in inputs.items()
    }
    assert (mim(loud).slots - expected.slots).abs().max() > 1e-2

    mim.scale_visual_tokens(loud)

    torch.testing.assert_close(mim(loud).slots, expected.slots, atol=1e-4, rtol=1e-3)


def test_grids_that_do_not_nest_are_refused() -> None:
    with pytest.raises(ConfigError, match="no multiple"):
        MIM(MIMConfig(stages=("a", "b")), {"a": 3, "b": 3}, {"a": (7, 7), "b": (2, 2)}, TOKENS)


def test_information_flows_from_image_to_attributes_and_from_attributes_to_image() -> None:
    mim = module()
    sequence = torch.randn(1, 7, 32, requires_grad=True)  # 4 positions, 3 attribute tokens
    output = mim.layers[0](sequence)
    (to_attributes,) = torch.autograd.grad(output[0, 4:].sum(), sequence, retain_graph=True)
    (to_image,) = torch.autograd.grad(output[0, :4].sum(), sequence)
    assert (to_attributes[0, :4].abs().sum(dim=1) > 0).all()
    assert (to_image[0, 4:].abs().sum(dim=1) > 0).all()


def test_one_image_is_not_changed_by_its_neighbours_in_the_batch() -> None:
    mim, inputs = module(), maps(4)
    alone = mim({s: m[1:2] for s, m in inputs.items()})
    together = mim(inputs)
    torch.testing.assert_close(together.slots[1:2], alone.slots, atol=1e-5, rtol=1e-4)
