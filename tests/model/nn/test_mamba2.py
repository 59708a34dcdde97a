"""The whole block against a recurrence written in numpy, token by token."""

import numpy as np
import onnxruntime
import pytest
import torch

from model.errors import ConfigError
from model.nn.mamba2 import Mamba2


def _block(**options):
    torch.manual_seed(0)
    block = Mamba2(24, state=5, head_width=6, **options).double().eval()
    with torch.no_grad():  # so that no parameter hides behind a neutral start
        block.D.copy_(torch.randn_like(block.D))
    return block


def _tokens(count, batch=2):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(batch, count, 24, generator=generator, dtype=torch.float64)


def _silu(values):
    return values / (1 + np.exp(-values))


def _step_by_step(block: Mamba2, tokens: np.ndarray) -> np.ndarray:
    """One image's tokens (N, width) -> (N, width), a token at a time."""
    weights = {name: value.numpy() for name, value in block.state_dict().items()}
    inner, heads, groups, state = block.inner, block.heads, block.groups, block.state
    kernel = weights["convolution.weight"][:, 0]  # (channels, conv)
    window = np.zeros_like(kernel)  # the last `conv` inputs of the convolution, oldest first
    hidden = np.zeros((heads, block.head_width, state))
    outputs = []
    for token in tokens:
        projected = weights["project_in.weight"] @ token
        z, mixed, dt = np.split(projected, [inner, inner + kernel.shape[0]])
        window = np.concatenate([window[:, 1:], mixed[:, None]], axis=1)
        mixed = _silu((window * kernel).sum(1) + weights["convolution.bias"])
        x, B, C = np.split(mixed, [inner, inner + groups * state])
        x = x.reshape(heads, -1)
        B, C = (np.repeat(v.reshape(groups, state), heads // groups, axis=0) for v in (B, C))
        dt = np.log1p(np.exp(dt + weights["dt_bias"]))
        y = np.empty_like(x)
        for head in range(heads):
            decay = np.exp(-dt[head] * np.exp(weights["A_log"][head]))
            hidden[head] = decay * hidden[head] + dt[head] * np.outer(x[head], B[head])
            y[head] = hidden[head] @ C[head] + weights["D"][head] * x[head]
        gated = y.reshape(-1) * _silu(z)
        normed = gated / np.sqrt((gated**2).mean() + 1e-5)
        outputs.append(weights["project_out.weight"] @ normed)
    return np.stack(outputs)


@pytest.mark.parametrize("count", [1, 3, 77, 150])
@pytest.mark.parametrize("options", [{}, {"groups": 2, "conv": 2, "expand": 1}, {"chunk": 16}])
def test_the_block_equals_its_recurrence(count, options):
    block, tokens = _block(**options), _tokens(count)
    with torch.no_grad():
        actual = block(tokens).numpy()
    expected = np.stack([_step_by_step(block, image) for image in tokens.numpy()])
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", [{}, {"groups": 2, "conv": 2, "expand": 1, "chunk": 16}])
def test_two_directions_are_two_blocks_of_which_one_reads_the_sequence_reversed(options):
    both, forwards, backwards = (_block(**options, directions=d) for d in (2, 1, 1))
    inner, mixed, heads = forwards.inner, forwards.mixed, forwards.heads
    state = both.state_dict()
    for way, one in enumerate((forwards, backwards)):
        gates, read, steps = state["project_in.weight"].split([2 * inner, 2 * mixed, 2 * heads])
        rows = [part.chunk(2)[way] for part in (gates, read, steps)]
        own = {"project_in.weight": torch.cat(rows)}
        own["project_out.weight"] = state["project_out.weight"].chunk(2, dim=1)[way]
        for name in ("convolution.weight", "convolution.bias", "dt_bias", "A_log", "D"):
            own[name] = state[name].chunk(2)[way]
        own["norm.weight"] = state["norm.weight"]
        one.load_state_dict(own)
    tokens = _tokens(40)
    with torch.no_grad():
        expected = forwards(tokens) + backwards(tokens.flip(1)).flip(1)
        torch.testing.assert_close(both(tokens), expected, rtol=1e-10, atol=1e-12)


def test_an_output_depends_on_no_later_token():
    block, tokens = _block(chunk=16), _tokens(40)
    changed = tokens.clone()
    changed[:, 21] += 1
    with torch.no_grad():
        before, after = block(tokens), block(changed)
    torch.testing.assert_close(after[:, :21], before[:, :21], rtol=1e-12, atol=1e-14)
    assert ((after - before)[:, 21:].abs().amax(-1) > 0).all()


def test_steps_and_decays_start_in_mamba_2_s_ranges():
    torch.manual_seed(1)
    block = Mamba2(512, head_width=4)
    steps = torch.nn.functional.softplus(block.dt_bias).detach()
    assert 1e-3 * 0.99 <= steps.min() < 2e-3
    assert 5e-2 < steps.max() <= 1e-1 * 1.01
    assert abs(steps.log().mean() - np.log(1e-2)) < 0.2  # log-uniform: the middle is 0.01
    assert 1 <= block.A_log.exp().min() < 2
    assert 15 < block.A_log.exp().max() <= 16.001


def test_a_block_learns_to_remember_a_token():
    torch.manual_seed(0)
    block = Mamba2(16, state=8, head_width=8)
    optimizer = torch.optim.AdamW(block.parameters(), lr=3e-2)
    losses = []
    for _ in range(60):
        tokens = torch.randn(32, 6, 16)
        loss = (block(tokens)[:, -1] - tokens[:, 2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


@pytest.mark.parametrize("options", [{"head_width": 7}, {"groups": 3}])
def test_widths_that_do_not_divide_are_named(options):
    with pytest.raises(ConfigError, match="must divide"):
        Mamba2(24, **{"head_width": 6, **options})


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("count", [77, 150])
def test_the_exported_block_computes_the_same_for_any_batch(count, directions, tmp_path):
    block = _block(directions=directions).float()
    tokens = _tokens(count, batch=3).float()
    program = torch.onnx.export(
        block,
        (tokens[:2],),
        dynamo=True,
        input_names=["tokens"],
        dynamic_shapes={"tokens": {0: torch.export.Dim("batch")}},
    )
    program.save(tmp_path / "block.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "block.onnx", providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3):
        (actual,) = session.run(None, {"tokens": tokens[:batch].numpy()})
        expected = block(tokens[:batch]).detach().numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
