"""CLIP's activation, in few passes over memory, and GELU: what they make can be made again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.gpu import has_kernels
from videoadapt.layout import Origin, as_it_is, made, origin_of, remembering


class QuickGelu(nn.Module):
    """CLIP's ``x sigmoid(1.702 x)``, which keeps one tensor for the backward pass and not two.

    That is the origin of its input, if it has one, and is the origin of its output.
    """

    def forward(self, x: Tensor) -> Tensor:
        origin = origin_of(x) or Origin(as_it_is, x)
        y = _QuickGelu.apply(x, origin.source.detach(), origin.make)
        return remembering(y, Origin(lambda source: _quick_gelu(origin.make(source)), origin.source))


class Gelu(nn.GELU):
    """torch's, which is the origin of its output."""

    def forward(self, x: Tensor) -> Tensor:
        return made(super().forward, x)


class _QuickGelu(torch.autograd.Function):
    # Both in one: torch binds the arguments of a separate setup_context in every call, which takes the host a while.
    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(source)
        ctx.make = make
        return _quick_gelu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (source,) = ctx.saved_tensors
        return _quick_gelu_backward(grad, ctx.make(source)), None, None


def _quick_gelu(x: Tensor) -> Tensor:
    if has_kernels(x):
        from videoadapt.models import triton_kernels

        return triton_kernels.quick_gelu(x)
    return (1.702 * x).sigmoid_().mul_(x)


def _quick_gelu_backward(grad: Tensor, x: Tensor) -> Tensor:
    if has_kernels(x):
        from videoadapt.models import triton_kernels

        return triton_kernels.quick_gelu_backward(grad, x)
    scaled = 1.702 * x
    if x.dtype == torch.float16:  # which ends at 65,504: beyond, silu's own slope is NaN
        scaled.clamp_(-6e4, 6e4)
    return torch.ops.aten.silu_backward(grad, scaled)  # the slope of silu(1.702 x) / 1.702
