"""The weights of a bottleneck in one tensor for its kernels, and their gradients taken apart, each by one kernel.

Packed are, in the precision of the tokens and padded with zeros: the edges (features in out) of both KAN layers, silu's
and then each basis', with the sixth that bases share; ``down`` with its bias; ``up`` with its bias as one more column,
and the scale in both. h2, the input of ``up``, has a column of ones for that bias, so that the products of ``up`` give
its bias and the gradient of it too.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from videoadapt.adapters.kan.plan import Plan

SPLITS = 16  # sums over tokens that run side by side
_BLOCK = 1024
_EDGES = 128  # of a program that sums up their gradient


class Packed(NamedTuple):
    edges: Tensor
    down: Tensor  # (A dim)
    bias: Tensor  # (A)
    up: Tensor  # (dim wide)


def pack(weights: Sequence[Tensor], plan: Plan, scale: float, dtype: torch.dtype) -> Packed:
    """``weights`` are down's two, three of each KAN layer, and up's two."""
    whole = weights[0].new_empty(sum(plan.packed), dtype=dtype)
    _pack[-(-len(whole) // _BLOCK),](*weights, whole, scale, **plan.linears, BLOCK=_BLOCK)
    edges, down, bias, _, up = whole.split_with_sizes(plan.packed)
    return Packed(edges, down.view(plan.A, plan.dim), bias, up.view(plan.dim, plan.wide))


def unpack(
    sums: Tensor, of_up: Tensor, of_down: Tensor, weights: Sequence[Tensor], plan: Plan, scale: float
) -> list[Tensor]:
    """The gradients of ``weights`` without down's bias: from the edges', of ``up`` (dim wide) and ``down`` (A dim)."""
    down, _, *layers, up, bias = weights
    found = [torch.empty_like(weight) for weight in (down, *layers, up, bias)]
    first, second = (-(-size // _EDGES) for size in plan.padded)
    rest = -(-max(of_up.numel(), of_down.numel()) // _BLOCK)
    _unpack[first + second + rest,](
        sums, of_up, of_down, layers[1], layers[2], layers[4], layers[5], *found, scale, first, second,
        **plan.linears, SPLITS=SPLITS, EDGES=_EDGES, BLOCK=_BLOCK,
    )  # fmt: skip
    return found


@triton.jit
def _edge(base_ptr, spline_ptr, scaler_ptr, i, ins, outs, IN, OUT, BASES: tl.constexpr):
    """Number ``i`` of the padded edges (features IN OUT) of a layer (outs ins), 0 where there is none."""
    feature, row, column = i // (IN * OUT), i // OUT % IN, i % OUT
    there = (i >= 0) & (feature <= BASES) & (row < ins) & (column < outs)
    edge = column * ins + row
    silus = tl.load(base_ptr + edge, mask=there & (feature == 0), other=0.0).to(tl.float32)
    splines = there & (feature > 0)
    weight = tl.load(spline_ptr + edge * BASES + feature - 1, mask=splines, other=0.0).to(tl.float32)
    return silus + weight * tl.load(scaler_ptr + edge, mask=splines, other=0.0).to(tl.float32) / 6


@triton.jit
def _pack(
    down_ptr, bias_ptr, base0_ptr, spline0_ptr, scaler0_ptr, base1_ptr, spline1_ptr, scaler1_ptr, up_ptr, up_bias_ptr,
    out_ptr, scale,
    dim: tl.constexpr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, BASES: tl.constexpr, WIDE: tl.constexpr,
    AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ACROSS: tl.constexpr = PART * PARTS
    SECOND: tl.constexpr = (BASES + 1) * AP * ACROSS
    DOWN: tl.constexpr = SECOND + (BASES + 1) * ACROSS * CP
    UP: tl.constexpr = DOWN + (A * (dim + 1) + 7) // 8 * 8
    value = _edge(base0_ptr, spline0_ptr, scaler0_ptr, i, A, B, AP, ACROSS, BASES)
    value += _edge(base1_ptr, spline1_ptr, scaler1_ptr, i - SECOND, B, C, ACROSS, CP, BASES)
    j = i - DOWN
    value += tl.load(down_ptr + j, mask=(j >= 0) & (j < A * dim), other=0.0).to(tl.float32)
    j -= A * dim
    value += tl.load(bias_ptr + j, mask=(j >= 0) & (j < A), other=0.0).to(tl.float32)
    j = i - UP
    row, column = j // WIDE, j % WIDE
    there = (j >= 0) & (row < dim)
    weight = tl.load(up_ptr + row * C + column, mask=there & (column < C), other=0.0).to(tl.float32)
    value += scale * (weight + tl.load(up_bias_ptr + row, mask=there & (column == C), other=0.0).to(tl.float32))
    tl.store(out_ptr + i, value.to(out_ptr.dtype.element_ty), mask=i < UP + dim * WIDE)


@triton.jit
def _grad_edges(
    sums_ptr, spline_ptr, scaler_ptr, base_out, spline_out, scaler_out, i, ins, outs, total,
    IN: tl.constexpr, OUT: tl.constexpr, BASES: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Of the edges ``i`` of (IN OUT): the sums of ``total`` numbers each, and the product rule."""
    row, column = i // OUT, i % OUT
    there = (row < ins) & (column < outs)
    edge = column * ins + row
    scaler = tl.load(scaler_ptr + edge, mask=there, other=0.0).to(tl.float32) / 6
    of_scaler = tl.zeros_like(scaler)
    for feature in range(BASES + 1):
        grad = tl.zeros_like(scaler)
        for split in tl.static_range(SPLITS):
            grad += tl.load(sums_ptr + split * total + feature * (IN * OUT) + i, mask=there, other=0.0)
        if feature == 0:
            tl.store(base_out + edge, grad.to(base_out.dtype.element_ty), mask=there)
        else:
            here = edge * BASES + feature - 1
            of_scaler += grad * tl.load(spline_ptr + here, mask=there, other=0.0).to(tl.float32)
            tl.store(spline_out + here, (grad * scaler).to(spline_out.dtype.element_ty), mask=there)
    tl.store(scaler_out + edge, (of_scaler / 6).to(scaler_out.dtype.element_ty), mask=there)


@triton.jit
def _unpack(
    sums_ptr, of_up_ptr, of_down_ptr, spline0_ptr, scaler0_ptr, spline1_ptr, scaler1_ptr,
    down_out, base0_out, spline0_out, scaler0_out, base1_out, spline1_out, scaler1_out, up_out, bias_out,
    scale, first, second,
    dim: tl.constexpr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, BASES: tl.constexpr, WIDE: tl.constexpr,
    AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, SPLITS: tl.constexpr,
    EDGES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Programs of the first layer's edges, of the second's, and of the linears'."""
    program = tl.program_id(0)
    ACROSS: tl.constexpr = PART * PARTS
    SECOND: tl.constexpr = (BASES + 1) * AP * ACROSS
    TOTAL: tl.constexpr = SECOND + (BASES + 1) * ACROSS * CP
    if program < first:
        of_first = program * EDGES + tl.arange(0, EDGES)
        _grad_edges(
            sums_ptr, spline0_ptr, scaler0_ptr, base0_out, spline0_out, scaler0_out, of_first, A, B, TOTAL,
            AP, ACROSS, BASES, SPLITS,
        )  # fmt: skip
    elif program < first + second:
        of_second = (program - first) * EDGES + tl.arange(0, EDGES)
        _grad_edges(
            sums_ptr + SECOND, spline1_ptr, scaler1_ptr, base1_out, spline1_out, scaler1_out, of_second, B, C, TOTAL,
            ACROSS, CP, BASES, SPLITS,
        )  # fmt: skip
    else:
        i = (program - first - second) * BLOCK + tl.arange(0, BLOCK)
        grad = tl.load(of_down_ptr + i, mask=i < A * dim, other=0.0)
        tl.store(down_out + i, grad.to(down_out.dtype.element_ty), mask=i < A * dim)
        row, column = i // WIDE, i % WIDE
        grad = scale * tl.load(of_up_ptr + i, mask=row < dim, other=0.0).to(tl.float32)
        tl.store(up_out + row * C + column, grad.to(up_out.dtype.element_ty), mask=(row < dim) & (column < C))
        tl.store(bias_out + row, grad.to(bias_out.dtype.element_ty), mask=(row < dim) & (column == C))
