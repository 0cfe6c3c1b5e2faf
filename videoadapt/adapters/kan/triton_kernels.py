"""A KAN layer on a GPU: features live in registers, and are never written down.

Three kernels: the layer, the gradient of its input, and that of its edges, which sums over tokens in a fixed order.
Edges are (1+bases in out): the base weights, then for every basis spline times scaler, with the sixth that bases share.
They are in the precision of the input, sums in fp32. Sizes may be any: blocks are powers of two, and masked.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from videoadapt.adapters.kan.triton_features import basis, put, silu, silu_slope, slope, tile
from videoadapt.gpu import product_precision

_SPLITS = 16  # sums over tokens that run side by side


def forward(x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int) -> Tensor:
    """As ``kan_linear``."""
    u, edges = _tokens(x), _edges(base, spline, scaler, x.dtype)
    y = u.new_empty(len(u), len(base))
    sizes, options = (len(u), *edges.shape[1:]), _options(edges, grid_size)
    programs = triton.cdiv(len(u), options["TOKENS"]), triton.cdiv(edges.shape[2], options["OUT"])
    with torch.cuda.device_of(x):
        _forward[programs](u, edges, y, *sizes, **options)
    return y.reshape(*x.shape[:-1], len(base))


def backward(
    grad: Tensor, x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``kan_linear_backward``."""
    u, grad, edges = _tokens(x), _tokens(grad), _edges(base, spline, scaler, x.dtype)
    grad_x = torch.empty_like(u)
    parts = torch.empty(_SPLITS, *edges.shape, device=x.device, dtype=torch.float32)
    sizes, options = (len(u), *edges.shape[1:]), _options(edges, grid_size)
    across = [triton.cdiv(size, options[side]) for size, side in zip(sizes, ("TOKENS", "IN", "OUT"), strict=True)]
    tiles = len(edges), across[1] * across[2], _SPLITS
    with torch.cuda.device_of(x):
        _grad_input[across[0], across[1]](grad, u, edges, grad_x, *sizes, **options)
        _grad_edges[tiles](grad, u, parts, *sizes, SPLITS=_SPLITS, **options)
    grad_edges = parts.sum(0).permute(0, 2, 1)  # (1+bases out in)
    joint = grad_edges[1:].permute(1, 2, 0).contiguous() / 6
    gradients = grad_edges[0].contiguous(), joint * scaler.unsqueeze(-1), (joint * spline).sum(-1)
    grad_base, grad_spline, grad_scaler = (gradient.to(base.dtype) for gradient in gradients)
    return grad_x.reshape(x.shape), grad_base, grad_spline, grad_scaler


def _tokens(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _edges(base: Tensor, spline: Tensor, scaler: Tensor, dtype: torch.dtype) -> Tensor:
    joint = torch.cat([base.unsqueeze(-1), spline * (scaler / 6).unsqueeze(-1)], dim=-1)
    return joint.permute(2, 1, 0).to(dtype).contiguous()


def _options(edges: Tensor, grid_size: int) -> dict[str, Any]:
    """Sizes and precision of what a program takes on."""
    fit = lambda size: min(max(triton.next_power_of_2(size), 16), 64)  # noqa: E731, a matrix unit takes no less than 16
    blocks = {"TOKENS": 64, "IN": fit(edges.shape[1]), "OUT": fit(edges.shape[2])}
    exact = {"num_warps": 8, "num_stages": 1} if edges.dtype == torch.float32 else {}  # else registers spill
    return {**blocks, **exact, "BASES": len(edges) - 1, "GRID": grid_size, "PRECISION": product_precision(edges.dtype)}


@triton.jit(do_not_specialize=["tokens"])
def _forward(
    x_ptr, edges_ptr, y_ptr, tokens, inputs, outputs,
    BASES: tl.constexpr, GRID: tl.constexpr, PRECISION: tl.constexpr,
    TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    outs = tl.program_id(1) * OUT + tl.arange(0, OUT)
    y = tl.zeros((TOKENS, OUT), tl.float32)
    for first in range(0, inputs, IN):
        ins = first + tl.arange(0, IN)
        x = tile(x_ptr, rows, ins, tokens, inputs, inputs).to(tl.float32)
        edges = tile(edges_ptr, ins, outs, inputs, outputs, outputs)
        y = tl.dot(silu(x).to(edges.dtype), edges, y, input_precision=PRECISION)
        for number in range(BASES):
            edges = tile(edges_ptr + (number + 1) * inputs * outputs, ins, outs, inputs, outputs, outputs)
            y = tl.dot(basis(x, number, GRID).to(edges.dtype), edges, y, input_precision=PRECISION)
    put(y_ptr, y, rows, outs, tokens, outputs, outputs)


@triton.jit(do_not_specialize=["tokens"])
def _grad_input(
    grad_ptr, x_ptr, edges_ptr, out_ptr, tokens, inputs, outputs,
    BASES: tl.constexpr, GRID: tl.constexpr, PRECISION: tl.constexpr,
    TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    ins = tl.program_id(1) * IN + tl.arange(0, IN)
    x = tile(x_ptr, rows, ins, tokens, inputs, inputs).to(tl.float32)
    total = tl.zeros((TOKENS, IN), tl.float32)
    for first in range(0, outputs, OUT):
        outs = first + tl.arange(0, OUT)
        grad = tile(grad_ptr, rows, outs, tokens, outputs, outputs)
        edges = tile(edges_ptr, ins, outs, inputs, outputs, outputs)
        total += tl.dot(grad.to(edges.dtype), tl.trans(edges), input_precision=PRECISION) * silu_slope(x)
        for number in range(BASES):
            edges = tile(edges_ptr + (number + 1) * inputs * outputs, ins, outs, inputs, outputs, outputs)
            arriving = tl.dot(grad.to(edges.dtype), tl.trans(edges), input_precision=PRECISION)
            total += arriving * slope(x, number, GRID)
    put(out_ptr, total, rows, ins, tokens, inputs, inputs)


@triton.jit(do_not_specialize=["tokens"])
def _grad_edges(
    grad_ptr, x_ptr, parts_ptr, tokens, inputs, outputs,
    SPLITS: tl.constexpr, BASES: tl.constexpr, GRID: tl.constexpr, PRECISION: tl.constexpr,
    TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    feature, split = tl.program_id(0), tl.program_id(2)
    across = tl.cdiv(outputs, OUT)
    ins = tl.program_id(1) // across * IN + tl.arange(0, IN)
    outs = tl.program_id(1) % across * OUT + tl.arange(0, OUT)
    total = tl.zeros((IN, OUT), tl.float32)
    for first in range(split * TOKENS, tokens, SPLITS * TOKENS):
        rows = first + tl.arange(0, TOKENS)
        x = tile(x_ptr, rows, ins, tokens, inputs, inputs).to(tl.float32)
        grad = tile(grad_ptr, rows, outs, tokens, outputs, outputs)
        value = silu(x) if feature == 0 else basis(x, feature - 1, GRID)
        total = tl.dot(tl.trans(value).to(grad.dtype), grad, total, input_precision=PRECISION)
    put(parts_ptr + (split * (BASES + 1) + feature) * inputs * outputs, total, ins, outs, inputs, outputs, outputs)
