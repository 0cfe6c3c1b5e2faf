"""Two KAN layers on a GPU, one after the other in the same program: features are made once and never written down.

Three kernels: the layers, the gradients of their inputs, and those of their edges, summed over tokens in a fixed order.
Sizes are padded to powers of two, and masked; a program takes all outputs of a layer, or 64 at a time of a wide one.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from videoadapt.adapters.kan.plan import Plan, share
from videoadapt.adapters.kan.triton_features import basis, put, silu, silu_slope, slope, tile
from videoadapt.adapters.kan.triton_packing import SPLITS
from videoadapt.gpu import product_precision


def forward(h0: Tensor, edges: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """h0 (tokens A) to h1 (tokens row) and h2 (tokens wide)."""
    tokens = h0.shape[0]
    h1, h2 = h0.new_empty(tokens, plan.row), h0.new_empty(tokens, plan.wide)
    each = share(tokens, most=16 if _is_exact(h0) else 64)
    _forward[-(-tokens // each),](h0, edges, h1, h2, tokens, **plan.layers, **_options(h0, each))
    return h1, h2


def backward(grad: Tensor, h0: Tensor, h1: Tensor, edges: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """The gradient of h0 from that of h2 (tokens wide), and the sums of which ``unpack`` makes the edges'."""
    grad1, grad0, tokens = torch.empty_like(h1), torch.empty_like(h0), h0.shape[0]
    each = share(tokens, most=16 if _is_exact(h0) else 32)  # with more, registers spill
    options = _options(h0, each)
    _backward[-(-tokens // each),](grad, h0, h1, edges, grad1, grad0, tokens, **plan.layers, **options)
    sums = h0.new_empty(SPLITS, edges.shape[0], dtype=torch.float32)
    programs = plan.bases + 1, 2 * plan.sizes["PARTS"], SPLITS
    options = _options(h0, 32 if _is_exact(h0) else 64)
    _sum_edges[programs](h0, h1, grad, grad1, sums, tokens, **plan.layers, **options, SPLITS=SPLITS)
    return grad0, sums


def _is_exact(x: Tensor) -> bool:
    return x.dtype == torch.float32


def _options(x: Tensor, tokens: int) -> dict[str, Any]:
    """fp32 needs twice the shared memory, and small cards have 99 KB: its loops do not load ahead."""
    stages = 1 if _is_exact(x) else 3
    warps = 8 if tokens == 64 or _is_exact(x) else 4
    return {"TOKENS": tokens, "PRECISION": product_precision(x.dtype), "num_warps": warps, "num_stages": stages}


@triton.jit
def _edges(
    packed_ptr, part, BASES: tl.constexpr, AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, ACROSS: tl.constexpr
):  # fmt: skip
    """A part of B, and where silu's edges to it and from it are; those of the bases follow."""
    a, b, c = tl.arange(0, AP), part * PART + tl.arange(0, PART), tl.arange(0, CP)
    second_ptr = packed_ptr + (BASES + 1) * AP * ACROSS
    return b, packed_ptr + a[:, None] * ACROSS + b[None, :], second_ptr + b[:, None] * CP + c[None, :]


@triton.jit(do_not_specialize=["tokens"])
def _forward(
    h0_ptr, packed_ptr, h1_ptr, h2_ptr, tokens,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, BASES: tl.constexpr, ROW: tl.constexpr, WIDE: tl.constexpr,
    AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, TOKENS: tl.constexpr,
    GRID: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    a, c = tl.arange(0, AP), tl.arange(0, CP)
    ACROSS: tl.constexpr = PART * PARTS
    dtype: tl.constexpr = h1_ptr.dtype.element_ty
    h = tile(h0_ptr, rows, a, tokens, A, A).to(tl.float32)
    y = tl.zeros((TOKENS, CP), tl.float32)
    for part in tl.static_range(PARTS):
        b, first, second = _edges(packed_ptr, part, BASES, AP, CP, PART, ACROSS)
        u = tl.dot(silu(h).to(dtype), tl.load(first), input_precision=PRECISION)
        for number in range(BASES):
            edges = tl.load(first + (number + 1) * AP * ACROSS)
            u = tl.dot(basis(h, number, GRID).to(dtype), edges, u, input_precision=PRECISION)
        put(h1_ptr, u, rows, b, tokens, B, ROW)
        u = u.to(dtype).to(tl.float32)
        y = tl.dot(silu(u).to(dtype), tl.load(second), y, input_precision=PRECISION)
        for number in range(BASES):
            edges = tl.load(second + (number + 1) * ACROSS * CP)
            y = tl.dot(basis(u, number, GRID).to(dtype), edges, y, input_precision=PRECISION)
    put(h2_ptr, y, rows, c, tokens, C, WIDE)
    more = C + tl.arange(0, 8)
    ones = tl.zeros((TOKENS, 8), tl.float32) + tl.where(more == C, 1.0, 0.0)[None, :]
    put(h2_ptr, ones, rows, more, tokens, WIDE, WIDE)


@triton.jit(do_not_specialize=["tokens"])
def _backward(
    grad_ptr, h0_ptr, h1_ptr, packed_ptr, grad1_ptr, grad0_ptr, tokens,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, BASES: tl.constexpr, ROW: tl.constexpr, WIDE: tl.constexpr,
    AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, TOKENS: tl.constexpr,
    GRID: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    a, c = tl.arange(0, AP), tl.arange(0, CP)
    ACROSS: tl.constexpr = PART * PARTS
    grad = tile(grad_ptr, rows, c, tokens, C, WIDE)
    total0 = tl.zeros((TOKENS, AP), tl.float32)
    for part in tl.static_range(PARTS):
        b, first, second = _edges(packed_ptr, part, BASES, AP, CP, PART, ACROSS)
        u = tile(h1_ptr, rows, b, tokens, B, ROW).to(tl.float32)
        total = tl.dot(grad, tl.trans(tl.load(second)), input_precision=PRECISION) * silu_slope(u)
        for number in range(BASES):
            edges = tl.load(second + (number + 1) * ACROSS * CP)
            total += tl.dot(grad, tl.trans(edges), input_precision=PRECISION) * slope(u, number, GRID)
        put(grad1_ptr, total, rows, b, tokens, B, ROW)
        total = total.to(grad.dtype)
        h = tile(h0_ptr, rows, a, tokens, A, A).to(tl.float32)  # not before: registers are few
        total0 += tl.dot(total, tl.trans(tl.load(first)), input_precision=PRECISION) * silu_slope(h)
        for number in range(BASES):
            edges = tl.load(first + (number + 1) * AP * ACROSS)
            total0 += tl.dot(total, tl.trans(edges), input_precision=PRECISION) * slope(h, number, GRID)
    put(grad0_ptr, total0, rows, a, tokens, A, A)


@triton.jit
def _sum_over_tokens(
    x_ptr, grad_ptr, out_ptr, ins, outs, tokens, feature,
    INS: tl.constexpr, OUTS: tl.constexpr, X_ROW: tl.constexpr, GRAD_ROW: tl.constexpr, OUT_ROW: tl.constexpr,
    IN: tl.constexpr, OUT: tl.constexpr, TOKENS: tl.constexpr, SPLITS: tl.constexpr, GRID: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    total = tl.zeros((IN, OUT), tl.float32)
    for start in range(tl.program_id(2) * TOKENS, tokens, SPLITS * TOKENS):
        rows = start + tl.arange(0, TOKENS)
        x = tile(x_ptr, rows, ins, tokens, INS, X_ROW).to(tl.float32)
        grad = tile(grad_ptr, rows, outs, tokens, OUTS, GRAD_ROW)
        value = silu(x) if feature == 0 else basis(x, feature - 1, GRID)
        total = tl.dot(tl.trans(value.to(grad.dtype)), grad, total, input_precision=PRECISION)
    tl.store(out_ptr + ins[:, None] * OUT_ROW + outs[None, :], total)


@triton.jit(do_not_specialize=["tokens"])
def _sum_edges(
    h0_ptr, h1_ptr, grad_ptr, grad1_ptr, sums_ptr, tokens,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, BASES: tl.constexpr, ROW: tl.constexpr, WIDE: tl.constexpr,
    AP: tl.constexpr, CP: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, TOKENS: tl.constexpr,
    GRID: tl.constexpr, PRECISION: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    feature, layer = tl.program_id(0), tl.program_id(1) // PARTS
    a, c = tl.arange(0, AP), tl.arange(0, CP)
    b = tl.program_id(1) % PARTS * PART + tl.arange(0, PART)
    ACROSS: tl.constexpr = PART * PARTS
    SECOND: tl.constexpr = (BASES + 1) * AP * ACROSS
    sums_ptr += tl.program_id(2) * (SECOND + (BASES + 1) * ACROSS * CP)
    if layer == 0:
        _sum_over_tokens(
            h0_ptr, grad1_ptr, sums_ptr + feature * AP * ACROSS, a, b, tokens, feature,
            A, B, A, ROW, ACROSS, AP, PART, TOKENS, SPLITS, GRID, PRECISION,
        )  # fmt: skip
    else:
        _sum_over_tokens(
            h1_ptr, grad_ptr, sums_ptr + SECOND + feature * ACROSS * CP, b, c, tokens, feature,
            B, C, ROW, WIDE, CP, PART, CP, TOKENS, SPLITS, GRID, PRECISION,
        )  # fmt: skip
