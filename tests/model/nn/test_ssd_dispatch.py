"""Which kernel is taken, and that mamba-ssm's is called as its signature says."""

import inspect
import subprocess
import sys
import types

import pytest
import torch

from model.errors import BackendUnavailable
from model.nn import ssd_kernels
from model.nn.ssd import ssd

# mamba_ssm 2.2's `mamba_chunk_scan_combined`: names, order and defaults.
UPSTREAM = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in {
            **dict.fromkeys(("x", "dt", "A", "B", "C", "chunk_size"), inspect.Parameter.empty),
            **dict.fromkeys(("D", "z", "dt_bias", "initial_states", "seq_idx", "cu_seqlens")),
            "dt_softplus": False,
            "dt_limit": (0.0, float("inf")),
            "return_final_states": False,
            "return_varlen_states": False,
        }.items()
    ]
)


@pytest.fixture
def fake_mamba_ssm(monkeypatch, recurrence):
    """A mamba_ssm that records how it is called and computes the recurrence."""
    calls = []

    def mamba_chunk_scan_combined(*args, **kwargs):
        bound = UPSTREAM.bind(*args, **kwargs)
        bound.apply_defaults()
        calls.append(bound.arguments)
        tensors = (bound.arguments[name].double() for name in ("x", "dt", "A", "B", "C"))
        return recurrence(*tensors).to(bound.arguments["x"].dtype)

    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = types.ModuleType("mamba_ssm.ops.triton.ssd_combined")
    module.mamba_chunk_scan_combined = mamba_chunk_scan_combined
    monkeypatch.setitem(sys.modules, module.__name__, module)
    ssd_kernels._fused_kernel.cache_clear()
    yield calls
    ssd_kernels._fused_kernel.cache_clear()


@pytest.fixture
def no_mamba_ssm(monkeypatch):
    """As on a machine without CUDA."""
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.triton.ssd_combined", None)
    ssd_kernels._fused_kernel.cache_clear()
    yield
    ssd_kernels._fused_kernel.cache_clear()


def test_tensors_on_the_cpu_take_the_reference_though_mamba_ssm_is_there(inputs, fake_mamba_ssm):
    arguments = inputs(70, dtype=torch.float32)
    actual = ssd_kernels.ssd_auto(*arguments, chunk=32)
    torch.testing.assert_close(actual, ssd(*arguments, chunk=32), rtol=0, atol=0)
    assert fake_mamba_ssm == []


def test_the_fused_kernel_gets_its_arguments_as_upstream_names_them(inputs, fake_mamba_ssm):
    x, dt, A, B, C = (tensor.detach() for tensor in inputs(70, dtype=torch.float32))
    actual = ssd_kernels.ssd_fused(x, dt, A, B, C, chunk=48)
    torch.testing.assert_close(actual, ssd(x, dt, A, B, C), rtol=1e-5, atol=1e-5)
    (call,) = fake_mamba_ssm
    for name, tensor in {"x": x, "dt": dt, "A": A, "B": B, "C": C}.items():
        assert torch.equal(call[name], tensor), name
    assert call["chunk_size"] == 64
    assert call["dt_softplus"] is False
    assert call["return_final_states"] is False
    for name in ("D", "z", "dt_bias", "initial_states", "seq_idx", "cu_seqlens"):
        assert call[name] is None, name


@pytest.mark.parametrize("backward", [1, 2])
def test_the_fused_kernel_scans_groups_backwards_too(inputs, fake_mamba_ssm, backward):
    arguments = [tensor.detach() for tensor in inputs(70, dtype=torch.float32)]
    actual = ssd_kernels.ssd_fused(*arguments, backward=backward)
    expected = ssd(*arguments, backward=backward)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert len(fake_mamba_ssm) == 1


@pytest.mark.parametrize(
    ("asked", "given"), [(1, 16), (16, 16), (17, 32), (64, 64), (100, 128), (256, 256), (999, 256)]
)
def test_the_fused_chunk_is_a_power_of_two_within_the_kernel_s_limits(
    inputs, fake_mamba_ssm, asked, given
):
    arguments = [tensor.detach() for tensor in inputs(3, dtype=torch.float32)]
    ssd_kernels.ssd_fused(*arguments, chunk=asked)
    assert fake_mamba_ssm[0]["chunk_size"] == given


def test_the_fused_kernel_gets_one_dtype_and_float32_steps(inputs, fake_mamba_ssm):
    x, dt, A, B, C = (tensor.detach() for tensor in inputs(5, dtype=torch.float32))
    ssd_kernels.ssd_fused(x, dt.bfloat16(), A.bfloat16(), B.double(), C.bfloat16())
    (call,) = fake_mamba_ssm
    dtypes = {name: call[name].dtype for name in ("x", "dt", "A", "B", "C")}
    assert set(dtypes.values()) == {torch.float32}


@pytest.mark.parametrize(
    ("dtype", "fused"), [(torch.float32, True), (torch.bfloat16, True), (torch.float64, False)]
)
def test_tensors_on_cuda_take_the_fused_kernel_in_the_dtypes_it_knows(
    inputs, fake_mamba_ssm, monkeypatch, dtype, fused
):
    class OnCuda(torch.Tensor):
        is_cuda = True

    x, dt, A, B, C = (tensor.detach().to(dtype) for tensor in inputs(5))
    assert ssd_kernels._is_fusible(x.as_subclass(OnCuda)) is fused
    assert not ssd_kernels._is_fusible(x)
    # The subclass would go through every operator of the reference: decide, then compute plainly.
    monkeypatch.setattr(ssd_kernels, "_is_fusible", lambda _: fused)
    ssd_kernels.ssd_auto(x, dt, A, B, C)
    assert len(fake_mamba_ssm) == int(fused)


def test_an_export_takes_the_reference_wherever_the_tensors_are(fake_mamba_ssm, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    x = torch.zeros(1, 2, 1, 1)
    assert ssd_kernels._is_fusible(x)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert not ssd_kernels._is_fusible(x)


def test_without_mamba_ssm_the_reference_is_taken_and_asking_for_the_kernel_says_what_to_install(
    inputs, no_mamba_ssm, monkeypatch
):
    arguments = inputs(5, dtype=torch.float32)
    assert not ssd_kernels.fused_available()
    monkeypatch.setattr(ssd_kernels, "_is_fusible", lambda _: True)
    torch.testing.assert_close(ssd_kernels.ssd_auto(*arguments), ssd(*arguments))
    with pytest.raises(BackendUnavailable, match=r"umzero\[cuda\]"):
        ssd_kernels.ssd_fused(*arguments)


def test_importing_and_running_on_the_cpu_never_imports_mamba_ssm():
    code = """if True:
        import sys
        class Watch:
            def find_spec(self, name, path=None, target=None):
                assert name.partition(".")[0] != "mamba_ssm", "mamba_ssm was imported"
        sys.meta_path.insert(0, Watch())
        import torch
        from model.nn.ssd_kernels import ssd_auto
        from model.nn.mamba2 import Mamba2
        Mamba2(32)(torch.zeros(1, 3, 32))
        try:
            import mamba_ssm
        except AssertionError:
            print("watched")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "watched\n", done.stderr
