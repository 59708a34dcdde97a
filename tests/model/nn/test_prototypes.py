import numpy as np
import torch

from model.nn.prototypes import PrototypeUnit

GROUPS = (0, 0, 0, 1, 1, 2)  # the last attribute is alone in its group


def unit(dim: int = 6, exponent: float = 0.5) -> PrototypeUnit:
    return PrototypeUnit(GROUPS, torch.zeros(6), torch.full((6,), 100.0), dim, exponent)


def test_shares_are_the_square_rooted_parts_of_each_group() -> None:
    sheet = np.array([10.0, 30.0, 60.0, 5.0, 15.0, 49.0])
    expected = np.sqrt([0.1, 0.3, 0.6, 0.25, 0.75, 0.49])
    shares = unit().shares(torch.tensor(sheet[None], dtype=torch.float32))
    np.testing.assert_allclose(shares[0], expected, rtol=1e-5)


def test_a_group_of_zeros_stays_zero_and_finite() -> None:
    shares = unit().shares(torch.tensor([[0.0, 0, 0, 50, 50, 0]]))
    np.testing.assert_allclose(shares[0, [0, 1, 2, 5]], 0, atol=1e-5)
    assert torch.isfinite(unit()(torch.zeros(1, 6))).all()


def test_prototypes_are_unit_rows_and_do_not_depend_on_other_classes() -> None:
    sheets = torch.rand(5, 6) * 100
    module = unit()
    together = module(sheets)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(together[2:3], module(sheets[2:3]))


def test_projected_prototypes_of_the_seen_classes_keep_their_cosines() -> None:
    sheets = torch.rand(4, 6) * 100
    module = unit()
    module.start_from_classes(sheets)
    rows = module.normalise(sheets)
    prototypes = module(sheets)
    torch.testing.assert_close(prototypes @ prototypes.T, rows @ rows.T, atol=1e-5, rtol=0)


def test_directions_in_which_the_seen_classes_agree_are_left_out() -> None:
    sheets = torch.rand(3, 6) * 100
    module = unit(dim=2)
    module.start_from_classes(sheets)
    weight = module.project.weight.detach()
    _, _, expected = np.linalg.svd(module.normalise(sheets).numpy())
    np.testing.assert_allclose(np.abs(weight.numpy() @ expected[:2].T), np.eye(2), atol=1e-5)


def test_values_are_read_on_their_own_scale() -> None:
    hundred = unit()
    one = PrototypeUnit(GROUPS, torch.zeros(6), torch.ones(6), 6, 0.5)
    one.load_state_dict(hundred.state_dict() | {"maximum": one.maximum})
    sheets = torch.rand(3, 6)
    torch.testing.assert_close(one(sheets), hundred(sheets * 100))
