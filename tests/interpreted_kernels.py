"""The GPU kernels against the readable form.

On a CPU: TRITON_INTERPRET=1 python -m pytest tests/interpreted_kernels.py
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from videoadapt.adapters import KANLinear
from videoadapt.adapters.kan.bottleneck import bottleneck
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.layout import Origin


def layer_of(inputs, outputs, dtype=torch.float32):
    layer = KANLinear(inputs, outputs).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return layer, (layer.base_weight, layer.spline_weight, layer.spline_scaler)


def inputs(*shape, dtype=torch.float32):
    """Within the grid, around it, and beyond the last spline."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype) * 6 - 3).requires_grad_()


@pytest.mark.parametrize("sizes", [(16, 33), (97, 48), (5, 130), (130, 5)])
def test_the_gpu_kernels_equal_the_readable_form(sizes):
    from videoadapt.adapters.kan import triton_kernels

    layer, parameters = layer_of(*sizes)
    x, grad = inputs(7, 11, sizes[0]), torch.randn(7, 11, sizes[1])
    readable = layer.reference(x)
    expected = torch.autograd.grad(readable, (x, *parameters), grad)
    with torch.no_grad():
        torch.testing.assert_close(triton_kernels.forward(x, *parameters, 5), readable, rtol=1e-5, atol=1e-4)
        for ours, theirs in zip(triton_kernels.backward(grad, x, *parameters, 5), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_the_gpu_kernels_take_halves():
    from videoadapt.adapters.kan import triton_kernels

    layer, parameters = layer_of(16, 33)
    x, grad = inputs(20, 16).half(), torch.randn(20, 33).half()
    readable = layer.reference(x.float())
    expected = torch.autograd.grad(readable, parameters, grad.float())
    with torch.no_grad():
        y = triton_kernels.forward(x, *parameters, 5)
        gradients = triton_kernels.backward(grad, x, *parameters, 5)
        halves = [parameter.half() for parameter in parameters]
        assert {g.dtype for g in triton_kernels.backward(grad, x, *halves, 5)} == {torch.float16}
    assert y.dtype == gradients[0].dtype == torch.float16
    torch.testing.assert_close(y.float(), readable, rtol=0.02, atol=0.1)
    for ours, theirs in zip(gradients[1:], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.3)


@pytest.mark.parametrize(
    ("widths", "grid_size", "scale", "dtype", "told"),
    [([6, 13, 16], 5, 1.0, torch.float32, True), ([5, 130, 9], 2, 0.7, torch.float16, False)],
)
def test_a_whole_bottleneck_equals_its_modules(widths, grid_size, scale, dtype, told, monkeypatch):
    from videoadapt.adapters.kan import triton_packing, triton_pair

    for module in (triton_packing, triton_pair):
        monkeypatch.setattr(module, "SPLITS", 2)  # the interpreter is slow
    loki = LoKi(24, widths=widths, grid_size=grid_size, scale=scale)
    with torch.no_grad():
        for parameter in loki.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    source, grad, norm = torch.randn(3, 11, 24), torch.randn(3, 11, 24), nn.LayerNorm(24)
    tokens = norm(source).detach()
    exact, fast = tokens.clone().requires_grad_(), tokens.to(dtype).requires_grad_()
    origin = Origin(norm, source) if told else None
    ours, expected = bottleneck(fast, origin, loki.down, loki.kan, loki.up, scale, loki.plan), loki(exact)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(ours.float(), expected, rtol=1e-4, atol=tolerance)
    pairs = (ours, fast), (expected, exact)
    gradients = [torch.autograd.grad(y, (x, *loki.parameters()), grad.to(y)) for y, x in pairs]
    for mine, theirs in zip(*gradients, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.float() - theirs).norm() <= tolerance * theirs.norm()


@pytest.mark.parametrize(("frames", "heads", "dim"), [(8, 3, 64), (1, 2, 16), (12, 2, 20), (32, 1, 32), (17, 2, 8)])
def test_attention_along_a_few_frames_equals_torchs(frames, heads, dim):
    from videoadapt.models import triton_kernels

    qkv = torch.randn(7, frames, 3 * heads * dim, requires_grad=True)
    q, k, v = qkv.unflatten(-1, (3, heads, dim)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    grad = torch.randn_like(expected)
    (grad_qkv,) = torch.autograd.grad(expected, qkv, grad)
    with torch.no_grad():
        torch.testing.assert_close(triton_kernels.attend(qkv, heads, dim**-0.5), expected, rtol=1e-5, atol=1e-5)
        ours = triton_kernels.attend_backward(grad, qkv, heads, dim**-0.5)
    torch.testing.assert_close(ours, grad_qkv, rtol=1e-4, atol=1e-5)


def test_quick_gelu_and_its_gradient_equal_the_formula():
    from videoadapt.models import triton_kernels

    x = torch.cat([torch.randn(9000), torch.tensor([-90.0, 90.0])]).requires_grad_()
    expected = x * torch.sigmoid(1.702 * x)
    grad = torch.randn_like(x)
    (grad_x,) = torch.autograd.grad(expected, x, grad)
    with torch.no_grad():
        torch.testing.assert_close(triton_kernels.quick_gelu(x), expected)
        torch.testing.assert_close(triton_kernels.quick_gelu_backward(grad, x), grad_x, rtol=1e-5, atol=1e-6)
