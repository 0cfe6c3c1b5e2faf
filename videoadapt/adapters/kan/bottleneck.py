"""A bottleneck of two KAN layers between two linears, as one step of autograd on a GPU.

In eager mode the host has to begin every kernel: put together from modules, such a bottleneck is bound by that. Here
the forward pass is four kernels, the backward pass eight. It keeps the input and the three bottleneck vectors.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.adapters.kan.plan import Plan
from videoadapt.gpu import has_kernels
from videoadapt.layout import Origin


def is_fast(x: Tensor) -> bool:
    """Whether the kernels take these tokens; a compiled or exported program has the modules' own operations."""
    return has_kernels(x) and x.numel() > 0


def bottleneck(
    x: Tensor,
    origin: Origin | None,
    down: nn.Linear,
    layers: Iterable[nn.Module],
    up: nn.Linear,
    scale: float,
    plan: Plan,
) -> Tensor:
    """``scale * up(layers(down(x)))`` for two ``KANLinear``: (... d) to (... d) in the precision of autocast."""
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    edges = [p for layer in layers for p in (layer.base_weight, layer.spline_weight, layer.spline_scaler)]
    source, make = (None, None) if origin is None else (origin.source.detach(), origin.make)
    weights = (down.weight, down.bias, *edges, up.weight, up.bias)
    return _Bottleneck.apply(x, source, make, dtype, plan, scale, *weights)


class _Bottleneck(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        source: Tensor | None,
        make: Callable[[Tensor], Tensor] | None,
        dtype: torch.dtype,
        plan: Plan,
        scale: float,
        *weights: Tensor,
    ) -> Tensor:
        from videoadapt.adapters.kan import triton_packing, triton_pair

        tokens = x.reshape(-1, plan.dim).to(dtype)
        with torch.cuda.device_of(x):
            packed = triton_packing.pack(weights, plan, scale, dtype)
            h0 = torch.addmm(packed.bias, tokens, packed.down.t())
            h1, h2 = triton_pair.forward(h0, packed.edges, plan)
            y = torch.mm(h2, packed.up.t())
        kept = tokens if source is None else source
        ctx.save_for_backward(kept, h0, h1, h2, packed.edges, packed.down, packed.up, *weights)
        ctx.make, ctx.plan, ctx.scale, ctx.input = make, plan, scale, (x.shape, x.dtype)
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        from videoadapt.adapters.kan import triton_packing, triton_pair

        kept, h0, h1, h2, edges, down, up, *weights = ctx.saved_tensors
        shape, dtype = ctx.input
        grad = grad.reshape(-1, ctx.plan.dim).to(h0.dtype)
        tokens = kept if ctx.make is None else ctx.make(kept).to(h0.dtype).reshape(-1, ctx.plan.dim)
        with torch.cuda.device_of(grad):
            grad0, sums = triton_pair.backward(torch.mm(grad, up), h0, h1, edges, ctx.plan)
            of_up, of_down = torch.mm(grad.t(), h2), torch.mm(grad0.t(), tokens)
            of_bias = grad0.sum(0, dtype=weights[1].dtype)
            of_weights = triton_packing.unpack(sums, of_up, of_down, weights, ctx.plan, ctx.scale)
            grad_x = torch.mm(grad0, down).view(shape).to(dtype) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, None, None, None, of_weights[0], of_bias, *of_weights[1:]
