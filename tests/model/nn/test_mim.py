import pytest
import torch

from model.config import MIMConfig
from model.errors import ConfigError
from model.nn.mim import MIM

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
    assert interaction.attributes.shape == (3, 6)
    assert interaction.maps.shape == (3, 3, 2, 2)
    torch.testing.assert_close(interaction.maps.sum(dim=(2, 3)), torch.ones(3, 3))


def test_a_finer_map_is_folded_into_cells_of_the_coarse_one() -> None:
    mim = module(stages=("fine", "coarse"))
    inputs = maps(1)
    tokens = mim.visual_tokens(inputs)
    assert tokens.shape == (1, 4, 5 * 4 + 6)
    cell = inputs["fine"][0, :, 2:4, 0:2]  # the third position: lower left
    torch.testing.assert_close(tokens[0, 2, :20], cell.permute(1, 2, 0).flatten())
    torch.testing.assert_close(tokens[0, 2, 20:], inputs["coarse"][0, :, 1, 0])


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
    torch.testing.assert_close(together.attributes[1:2], alone.attributes, atol=1e-5, rtol=1e-4)
