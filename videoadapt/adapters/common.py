"""What the adapters share."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.layout import Origin

Size = Annotated[int, Field(ge=1)]
Widths = Annotated[list[Size], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def fused_parts(linear: nn.Linear) -> int:
    """3 for a fused qkv, recognised by its shape, else 1: updates treat q, k and v as layers of their own."""
    return 3 if linear.out_features == 3 * linear.in_features else 1


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A frozen ``nn.Linear`` that holds these tensors."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def start_at_zero(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    """Weight and bias to zero: the layer's output, and all that only scales it, starts at nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def scaled(scale: float, x: Tensor) -> Tensor:
    """``scale * x``, without a pass over x for a scale of 1."""
    return x if scale == 1 else scale * x


class DownLinear(nn.Linear):
    """The first linear of a bottleneck.

    Told of its input's origin, it keeps that for the backward pass and makes its input again: one tensor of width D
    less.
    """

    def forward(self, x: Tensor, origin: Origin | None = None) -> Tensor:
        if origin is None:
            return super().forward(x)
        return _LinearOfMade.apply(x, self.weight, self.bias, origin.source.detach(), origin.make)


class _LinearOfMade(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, source: Tensor, make: Callable) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, *tensors, ctx.make = inputs
        ctx.save_for_backward(*tensors)
        ctx.dtype = x.dtype

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, source = ctx.saved_tensors
        x = ctx.make(source).to(grad.dtype).flatten(0, -2)
        flat = grad.flatten(0, -2)
        grad_x = (grad @ weight.to(grad.dtype)).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return grad_x, (flat.t() @ x).to(weight.dtype), flat.sum(0).to(bias.dtype), None, None
