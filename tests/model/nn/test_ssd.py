"""`ssd` against the recurrence it stands for, written out step by step."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from model.nn.ssd import ssd

LENGTHS = [1, 2, 63, 64, 65, 130, 200]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("precision", [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_equals_the_recurrence_and_so_do_its_gradients(
    inputs, recurrence, length, groups, precision
):
    dtype, tolerance = precision
    arguments = inputs(length, groups, dtype)
    expected_arguments = inputs(length, groups, torch.float64)
    if dtype == torch.float32:  # the recurrence in float64, on the very numbers that float32 holds
        expected_arguments = [a.detach().double().requires_grad_() for a in arguments]
    expected = recurrence(*expected_arguments)
    actual = ssd(*arguments)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).double()
    expected_gradients = torch.autograd.grad((expected * weights).sum(), expected_arguments)
    gradients = torch.autograd.grad((actual * weights.to(dtype)).sum(), arguments)
    names = ("x", "dt", "A", "B", "C")
    for name, got, wanted in zip(names, gradients, expected_gradients, strict=True):
        scale = wanted.abs().max().item()
        error = (got.double() - wanted).abs().max().item()
        assert error <= tolerance * max(scale, 1.0), f"the gradient of {name} is off by {error}"


@pytest.mark.parametrize("chunk", [1, 7, 64, 128, 1000])
def test_the_chunk_length_changes_nothing(inputs, recurrence, chunk):
    arguments = inputs(130)
    torch.testing.assert_close(ssd(*arguments, chunk=chunk), recurrence(*arguments))


@pytest.mark.parametrize("length", [1, 40, 130])  # one matrix, and states between chunks
@pytest.mark.parametrize("backward", [1, 2])
def test_groups_scanned_backwards_read_the_sequence_as_if_it_were_reversed(
    inputs, recurrence, length, backward
):
    arguments = inputs(length)
    x, dt, A, B, C = (tensor.detach() for tensor in arguments)
    turned = [tensor.flip(1) for tensor in (x, dt, B, C)]
    reversed_whole = recurrence(turned[0], turned[1], A, *turned[2:]).flip(1)
    expected = recurrence(x, dt, A, B, C)
    expected[:, :, 4 - 2 * backward :] = reversed_whole[:, :, 4 - 2 * backward :]
    actual = ssd(*arguments, chunk=64, backward=backward)
    torch.testing.assert_close(actual, expected)
    for gradient in torch.autograd.grad(actual.square().sum(), arguments):
        assert gradient.isfinite().all()


def test_strong_decay_gives_no_inf_or_nan_and_stays_exact_in_float32(inputs, recurrence):
    x, dt, A, B, C = (tensor.detach() for tensor in inputs(200, dtype=torch.float32))
    dt, A = dt * 20, A * 20  # logarithms down to -80 a step, -16,000 over the sequence
    arguments = [tensor.requires_grad_() for tensor in (x, dt, A, B, C)]
    actual = ssd(*arguments)
    expected = recurrence(*(tensor.detach().double() for tensor in arguments))
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5 * 20)
    for gradient in torch.autograd.grad(actual.square().sum(), arguments):
        assert gradient.isfinite().all()


def test_weak_decay_after_a_strong_one_is_exact_in_float32(inputs, recurrence):
    # Running totals of -10^5 whose differences are 10^-3: float32 alone would lose them.
    x, _, _, B, C = (tensor.detach() for tensor in inputs(64, dtype=torch.float32))
    dt = torch.full((2, 64, 4), 1e-3)
    dt[:, :32] = 1e3
    A = torch.full((4,), -3.0)
    expected = recurrence(*(tensor.double() for tensor in (x, dt, A, B, C)))
    actual = ssd(x, dt, A, B, C)
    torch.testing.assert_close(actual[:, 33:].double(), expected[:, 33:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [64, 130])
@pytest.mark.parametrize(("dtype", "eps"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_is_rounded_once_at_the_end(inputs, recurrence, length, dtype, eps):
    arguments = [tensor.detach() for tensor in inputs(length, dtype=dtype)]
    actual = ssd(*arguments)
    expected = recurrence(*(tensor.double() for tensor in arguments))
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=1.01 * eps, atol=1e-5)


def test_padding_leaves_no_trace(inputs):
    arguments = inputs(100)
    x, dt, A, B, C = (tensor.detach() for tensor in arguments)
    longer = ssd(x, dt, A, B, C, chunk=64)
    shorter = ssd(x[:, :70], dt[:, :70], A, B[:, :70], C[:, :70], chunk=64)
    torch.testing.assert_close(longer[:, :70], shorter)


@pytest.mark.parametrize("length", [5, 130])
def test_an_empty_batch_gives_an_empty_answer(inputs, length):
    assert ssd(*inputs(length, batch=0)).shape == (0, length, 4, 5)


def test_shapes_that_do_not_fit_are_named(inputs):
    x, dt, A, B, C = inputs(8)
    with pytest.raises(ValueError, match=r"dt \(2, 7, 4\)"):
        ssd(x, dt[:, :7], A, B, C)
    with pytest.raises(ValueError, match="expected x"):
        ssd(x[0], dt, A, B, C)
    with pytest.raises(ValueError, match="A"):
        ssd(x, dt, A[:1], B, C)
    with pytest.raises(ValueError, match="C"):
        ssd(x, dt, A, B, C[..., :1])
    with pytest.raises(ValueError, match="groups must divide heads"):
        ssd(x, dt, A, torch.zeros(2, 8, 3, 3), torch.zeros(2, 8, 3, 3))
    with pytest.raises(ValueError, match="chunk 0"):
        ssd(x, dt, A, B, C, chunk=0)
    with pytest.raises(ValueError, match="backward 3 of 2 groups"):
        ssd(x, dt, A, B, C, backward=3)


class _FromTokens(nn.Module):
    """ssd with everything made of one input, as a block does."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = tokens.reshape(*tokens.shape[:2], 4, 3)
        dt = nn.functional.softplus(x.mean(-1))
        A = -torch.arange(1.0, 5.0)
        return ssd(x, dt, A, x[:, :, :2], x[:, :, 2:].cos(), chunk=64)


@pytest.mark.parametrize("length", [64, 130])
def test_the_exported_graph_computes_the_same_for_any_batch(length, tmp_path):
    network = _FromTokens().eval()
    tokens = torch.randn(5, length, 12, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        network,
        (tokens[:2],),
        dynamo=True,
        input_names=["tokens"],
        dynamic_shapes={"tokens": {0: torch.export.Dim("batch")}},
    )
    path = tmp_path / "ssd.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        (actual,) = session.run(None, {"tokens": tokens[:batch].numpy()})
        expected = network(tokens[:batch]).numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    kinds = [node.op_type for node in program.model.graph]
    assert not {"Loop", "Scan", "If"} & set(kinds)
    if length <= 64:
        assert kinds.count("MatMul") == 2  # C B^T and the product with x: no states
    else:
        assert kinds.count("MatMul") > 2
    assert math.prod(program.model.graph.inputs[0].shape[1:]) == length * 12
