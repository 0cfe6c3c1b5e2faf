"""The GPU kernels against the readable form.

On a CPU: TRITON_INTERPRET=1 python -m pytest tests/interpreted_kernels.py
"""

import pytest
import torch

from videoadapt.adapters import KANLinear


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
