"""mamba-ssm's fused kernel against the reference, on a CUDA device."""

import pytest
import torch

from model.nn.ssd import ssd
from model.nn.ssd_kernels import fused_available, ssd_auto, ssd_fused

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_the_kernel():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if not fused_available():
        pytest.skip("needs the package mamba-ssm")


def _inputs(length, groups, dtype):
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(2, length, 4, 32, generator=generator)
    dt = torch.rand(2, length, 4, generator=generator) * 0.2 + 1e-3
    A = -torch.rand(4, generator=generator) * 8 - 0.1
    B, C = torch.randn(2, 2, length, groups, 32, generator=generator).unbind()
    kept = [x.to(dtype), dt, A, B.to(dtype), C.to(dtype)]
    return [tensor.cuda().requires_grad_() for tensor in kept]


@pytest.mark.parametrize("length", [1, 63, 77, 130, 512])
@pytest.mark.parametrize(("groups", "backward"), [(1, 0), (4, 0), (4, 2)])
# The kernel's products are TF32 in float32: 10 bits of mantissa, as float16 has.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 5e-3), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)]
)
def test_the_fused_kernel_and_the_reference_agree_in_values_and_gradients(
    length, groups, backward, dtype, tolerance
):
    fused_inputs = _inputs(length, groups, dtype)
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in fused_inputs]
    actual = ssd_fused(*fused_inputs, chunk=64, backward=backward)
    expected = ssd(*exact_inputs, backward=backward)
    assert actual.dtype == dtype
    weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(1)).cuda()
    pairs = {"y": (actual, expected)}
    gradients = torch.autograd.grad((actual.float() * weights).sum(), fused_inputs)
    exact = torch.autograd.grad((expected * weights.double()).sum(), exact_inputs)
    names = ("x", "dt", "A", "B", "C")
    pairs |= dict(zip(names, zip(gradients, exact, strict=True), strict=True))
    for name, (got, wanted) in pairs.items():
        error = (got.double() - wanted).abs().max() / wanted.abs().max()
        assert error < tolerance, f"{name} is off by {error:.2e} of its largest value"


def test_tensors_on_cuda_take_the_fused_kernel():
    arguments = [tensor.detach() for tensor in _inputs(77, 1, torch.float32)]
    assert torch.equal(ssd_auto(*arguments, chunk=128), ssd_fused(*arguments, chunk=128))
