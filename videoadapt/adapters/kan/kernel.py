"""One KAN layer as one operator, which keeps its input for the backward pass and nothing else.

The features of a token, nine of every input by default, are made when they are needed and made again for the
backward pass: ``triton_kernels`` never writes them down, ``pieces`` does so for some tokens at a time. torch.compile
takes the operator as it is. The readable form is ``KANLinear.reference``; this one is for cubic splines alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from videoadapt.adapters.kan import pieces
from videoadapt.gpu import has_kernels
from videoadapt.precision import without_autocast


@torch.library.custom_op("videoadapt::kan_linear", mutates_args=())
def kan_linear(x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int, compiled: bool) -> Tensor:
    """``y_q = sum_p [ w_qp silu(x_p) + s_qp sum_j c_qpj B_j(x_p) ]``: x (... in) to (... out), in the dtype of x.

    Args:
        base: w, (out in).
        spline: c, (out in grid_size+3).
        scaler: s, (out in).
        grid_size: cells of the uniform grid on [-1, 1].
        compiled: let torch.compile write ``pieces``' features; Triton has its own.
    """
    with without_autocast(x.device.type):
        if has_kernels(x):
            from videoadapt.adapters.kan import triton_kernels

            return triton_kernels.forward(x, base, spline, scaler, grid_size)
        return pieces.forward(x, base, spline, scaler, grid_size, compiled)


@torch.library.custom_op("videoadapt::kan_linear_backward", mutates_args=())
def kan_linear_backward(
    grad: Tensor, x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int, compiled: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, base, spline and scaler; grad is (... out)."""
    with without_autocast(x.device.type):
        if has_kernels(x):
            from videoadapt.adapters.kan import triton_kernels

            return triton_kernels.backward(grad, x, base, spline, scaler, grid_size)
        return pieces.backward(grad, x, base, spline, scaler, grid_size, compiled)


@kan_linear.register_fake
def _(x: Tensor, base: Tensor, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], base.shape[0])


@kan_linear_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs[:4])


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.grid_size, ctx.compiled = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad: Tensor) -> tuple:
    return *kan_linear_backward(grad, *ctx.saved_tensors, ctx.grid_size, ctx.compiled), None, None


kan_linear.register_autograd(_gradients, setup_context=_keep)


@register_flop_formula(torch.ops.videoadapt.kan_linear)
def _flops(x_shape: torch.Size, base_shape: torch.Size, spline_shape: torch.Size, *_: Any, **__: Any) -> int:
    tokens = x_shape.numel() // x_shape[-1]
    return 2 * tokens * base_shape.numel() * (1 + spline_shape[-1])
