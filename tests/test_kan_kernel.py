"""The KAN layer as one operator, in each of its forms, against its readable form."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import pytest
import torch
from interpreted_kernels import inputs, layer_of

from videoadapt import gpu
from videoadapt.adapters import KANLinear
from videoadapt.adapters.kan import pieces
from videoadapt.adapters.kan.kernel import kan_linear, kan_linear_backward

FORMS = [
    pytest.param(False, id="eager"),
    pytest.param(True, id="compiled", marks=pytest.mark.skipif(not which("g++"), reason="torch.compile needs g++")),
]


@pytest.fixture
def few(monkeypatch):
    """Pieces of two to eight tokens: nine make several, and the last is short."""
    monkeypatch.setattr(pieces, "_ROOMS", 8 * 5 * 8 // torch.get_num_threads())


@pytest.mark.parametrize("compiled", FORMS)
def test_it_passes_gradcheck_across_its_pieces(few, compiled):
    _, parameters = layer_of(5, 7, torch.float64)
    x = inputs(3, 3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, *p: kan_linear(x, *p, 5, compiled), (x, *parameters))


@pytest.mark.parametrize("grid_size", [2, 5, 9])
@pytest.mark.parametrize("compiled", FORMS)
def test_it_equals_the_readable_form(few, compiled, grid_size):
    layer = KANLinear(5, 7, grid_size).double()
    parameters = layer.base_weight, layer.spline_weight, layer.spline_scaler
    x, grad = inputs(3, 3, 5, dtype=torch.float64), torch.randn(3, 3, 7, dtype=torch.float64)
    fast, readable = kan_linear(x, *parameters, grid_size, compiled), layer.reference(x)
    torch.testing.assert_close(fast, readable, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(y, (x, *parameters), grad) for y in (fast, readable)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_fp32_errs_by_rounding_alone_and_gives_the_same_bits_again():
    """At the widths of the paper, in several pieces."""
    _, parameters = layer_of(97, 48)
    tensors = torch.randn(500, 48), inputs(500, 97).detach(), *(parameter.detach() for parameter in parameters)

    def results(dtype):
        grad, *own = (tensor.to(dtype) for tensor in tensors)
        return kan_linear(*own, 5, False), *kan_linear_backward(grad, *own, 5, False)

    for ours, again, exact in zip(results(torch.float32), results(torch.float32), results(torch.float64), strict=True):
        assert (ours - exact).abs().max() <= 2e-6 * exact.abs().max()
        assert torch.equal(ours, again)


def test_it_keeps_the_rules_of_operators():
    """Among them: what it tells the compiler of shapes is true, and it changes no input."""
    _, parameters = layer_of(5, 7)
    x = inputs(2, 3, 5)
    torch.library.opcheck(kan_linear, (x, *parameters, 5, False))
    detached = [tensor.detach() for tensor in (x, *parameters)]
    torch.library.opcheck(kan_linear_backward, (torch.randn(2, 3, 7), *detached, 5, False))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bases_are_fp32_under_autocast(dtype):
    layer, _ = layer_of(5, 7)
    x = inputs(6, 5).detach().to(dtype)
    exact = layer(x.float())
    with torch.autocast("cpu", dtype):
        fast, readable = layer(x), layer.reference(x)
    assert fast.dtype == readable.dtype == dtype
    torch.testing.assert_close(fast, exact.to(dtype))
    torch.testing.assert_close(readable, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bases_are_fp32_in_a_16_bit_model(dtype):
    layer, _ = layer_of(5, 7)
    x = inputs(6, 5).detach().to(dtype)
    exact = layer.to(dtype).float()(x.float())
    layer.to(dtype)
    for y in (layer(x), layer.reference(x)):
        torch.testing.assert_close(y, exact.to(dtype))
    layer(x).sum().backward()
    assert all(parameter.grad.dtype == dtype for parameter in layer.parameters())


def test_no_tokens_are_no_error():
    layer, _ = layer_of(5, 7)
    assert layer(torch.zeros(0, 3, 5)).shape == layer.reference(torch.zeros(0, 3, 5)).shape == (0, 3, 7)


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(pieces, "_compiled", lambda: pytest.fail("there is no compiler"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    pieces.has_compiler.cache_clear()
    layer, parameters = layer_of(5, 7)
    x = inputs(4, 5)
    torch.testing.assert_close(kan_linear(x, *parameters, 5, True), layer.reference(x), rtol=1e-4, atol=1e-5)
    pieces.has_compiler.cache_clear()


def test_the_gpu_kernels_through_tritons_interpreter():
    """In a process of its own: triton reads the variable when it is first imported."""
    pytest.importorskip("triton")
    tests = Path(__file__).with_name("interpreted_kernels.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", str(tests)]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and "13 passed" in done.stdout, done.stdout


@pytest.fixture
def card(monkeypatch):
    """An A100 in name, for which Triton compiles."""
    driver = SimpleNamespace(active=SimpleNamespace(get_current_target=lambda: None))
    monkeypatch.setitem(sys.modules, "triton.runtime.driver", SimpleNamespace(driver=driver))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    gpu._run_on.cache_clear()
    yield driver
    gpu._run_on.cache_clear()


def test_kernels_run_where_triton_compiles(card):
    assert gpu._run_on(0)


def test_kernels_are_for_the_a100_and_later(card, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not gpu._run_on(0)


def test_kernels_are_for_nvidias_gpus(card, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not gpu._run_on(0)


def test_kernels_can_be_forbidden(card, monkeypatch):
    monkeypatch.setenv("VIDEOADAPT_TRITON", "0")
    assert not gpu._run_on(0)


def test_a_gpu_without_triton_falls_back(card, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton.runtime.driver", None)  # its import fails
    assert not gpu._run_on(0)


def test_a_gpu_whose_triton_cannot_compile_falls_back_with_a_word(card, caplog):
    def broken():
        raise subprocess.CalledProcessError(1, ["gcc", "Python.h"])

    card.active.get_current_target = broken
    assert not gpu._run_on(0) and not gpu._run_on(0)
    (message,) = caplog.messages
    assert "Python.h" in message and "python3-dev" in message
