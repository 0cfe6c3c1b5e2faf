"""A KAN layer on a GPU: features live in registers, and are never written down.

Three kernels: the layer, the gradient of its input, and that of its edges, which sums over tokens in a fixed order.
Edges are (1+bases in out): the base weights, then spline times scaler for every basis, in the precision of the input;
sums are fp32. Sizes are whatever they are: blocks are powers of two, and masked.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

import torch
import triton
import triton.language as tl
from torch import Tensor

_SPLITS = 16  # sums over tokens that run side by side


def forward(x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int) -> Tensor:
    """As ``kan_linear``."""
    u, edges = _tokens(x), _edges(base, spline, scaler, x.dtype)
    y = u.new_empty(len(u), len(base))
    sizes, blocks = (len(u), *edges.shape[1:]), _blocks(edges)
    grid = triton.cdiv(len(u), blocks["TOKENS"]), triton.cdiv(edges.shape[2], blocks["OUT"])
    _forward[grid](u, edges, y, *sizes, grid_size / 2, BASES=len(edges) - 1, **blocks)
    return y.reshape(*x.shape[:-1], len(base))


def backward(
    grad: Tensor, x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``kan_linear_backward``."""
    u, grad, edges = _tokens(x), _tokens(grad), _edges(base, spline, scaler, x.dtype)
    grad_x = torch.empty_like(u)
    parts = torch.empty(_SPLITS, *edges.shape, device=x.device, dtype=torch.float32)
    sizes, blocks = (len(u), *edges.shape[1:]), _blocks(edges)
    across = [triton.cdiv(size, blocks[side]) for size, side in zip(sizes, ("TOKENS", "IN", "OUT"), strict=True)]
    bases = len(edges) - 1
    _grad_input[across[0], across[1]](grad, u, edges, grad_x, *sizes, grid_size / 2, BASES=bases, **blocks)
    tiles = len(edges), across[1] * across[2], _SPLITS
    _grad_edges[tiles](grad, u, parts, *sizes, grid_size / 2, SPLITS=_SPLITS, FEATURES=len(edges), **blocks)
    grad_edges = parts.sum(0).permute(0, 2, 1)  # (1+bases out in)
    joint = grad_edges[1:].permute(1, 2, 0).contiguous()
    gradients = grad_edges[0].contiguous(), joint * scaler.unsqueeze(-1), (joint * spline).sum(-1)
    grad_base, grad_spline, grad_scaler = (gradient.to(base.dtype) for gradient in gradients)
    return grad_x.reshape(x.shape), grad_base, grad_spline, grad_scaler


def _tokens(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _edges(base: Tensor, spline: Tensor, scaler: Tensor, dtype: torch.dtype) -> Tensor:
    joint = torch.cat([base.unsqueeze(-1), spline * scaler.unsqueeze(-1)], dim=-1)
    return joint.permute(2, 1, 0).to(dtype).contiguous()


def _precision() -> str:
    """Of products of fp32, as the user has set it, by torch's newer switch or by the older."""
    matmul = torch.backends.cuda.matmul
    wanted = matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32
    return "tf32" if wanted else "ieee"


def _blocks(edges: Tensor) -> dict[str, int | str]:
    """Sizes and precision of what a program takes on."""
    fit = lambda size: min(max(triton.next_power_of_2(size), 16), 64)  # noqa: E731, a matrix unit takes no less than 16
    return {"TOKENS": 64, "IN": fit(edges.shape[1]), "OUT": fit(edges.shape[2]), "PRECISION": _precision()}


@triton.jit
def _silu(x):
    return x / (1 + tl.exp(-x))


@triton.jit
def _basis(cells, centre):
    reach = tl.maximum(2 - tl.abs(cells - centre), 0)
    inner = tl.maximum(reach - 1, 0)
    return (reach * reach * reach - 4 * inner * inner * inner) / 6


@triton.jit
def _slope(cells, centre):
    offset = cells - centre
    reach = tl.maximum(2 - tl.abs(offset), 0)
    inner = tl.maximum(reach - 1, 0)
    size = 0.5 * reach * reach - 2 * inner * inner
    return tl.where(offset > 0, -size, size)


@triton.jit
def _tile(pointer, rows, columns, height, width):
    mask = (rows < height)[:, None] & (columns < width)[None, :]
    return tl.load(pointer + rows[:, None] * width + columns[None, :], mask=mask, other=0.0)


@triton.jit
def _forward(
    x_ptr, edges_ptr, y_ptr, tokens, inputs, outputs, half,
    BASES: tl.constexpr, PRECISION: tl.constexpr, TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    outs = tl.program_id(1) * OUT + tl.arange(0, OUT)
    y = tl.zeros((TOKENS, OUT), tl.float32)
    for first in range(0, inputs, IN):
        ins = first + tl.arange(0, IN)
        x = _tile(x_ptr, rows, ins, tokens, inputs).to(tl.float32)
        edges = _tile(edges_ptr, ins, outs, inputs, outputs)
        y = tl.dot(_silu(x).to(edges.dtype), edges, y, input_precision=PRECISION)
        cells = (x + 1) * half
        for basis in range(BASES):
            edges = _tile(edges_ptr + (basis + 1) * inputs * outputs, ins, outs, inputs, outputs)
            y = tl.dot(_basis(cells, basis - 1).to(edges.dtype), edges, y, input_precision=PRECISION)
    mask = (rows < tokens)[:, None] & (outs < outputs)[None, :]
    tl.store(y_ptr + rows[:, None] * outputs + outs[None, :], y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _grad_input(
    grad_ptr, x_ptr, edges_ptr, out_ptr, tokens, inputs, outputs, half,
    BASES: tl.constexpr, PRECISION: tl.constexpr, TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    ins = tl.program_id(1) * IN + tl.arange(0, IN)
    x = _tile(x_ptr, rows, ins, tokens, inputs).to(tl.float32)
    cells = (x + 1) * half
    gate = 1 / (1 + tl.exp(-x))
    total = tl.zeros((TOKENS, IN), tl.float32)
    for first in range(0, outputs, OUT):
        outs = first + tl.arange(0, OUT)
        grad = _tile(grad_ptr, rows, outs, tokens, outputs)
        edges = _tile(edges_ptr, ins, outs, inputs, outputs)
        total += tl.dot(grad.to(edges.dtype), tl.trans(edges), input_precision=PRECISION) * gate * (1 + x * (1 - gate))
        for basis in range(BASES):
            edges = _tile(edges_ptr + (basis + 1) * inputs * outputs, ins, outs, inputs, outputs)
            arriving = tl.dot(grad.to(edges.dtype), tl.trans(edges), input_precision=PRECISION)
            total += arriving * _slope(cells, basis - 1) * half
    mask = (rows < tokens)[:, None] & (ins < inputs)[None, :]
    tl.store(out_ptr + rows[:, None] * inputs + ins[None, :], total.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _grad_edges(
    grad_ptr, x_ptr, parts_ptr, tokens, inputs, outputs, half,
    SPLITS: tl.constexpr, FEATURES: tl.constexpr, PRECISION: tl.constexpr,
    TOKENS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    feature, split = tl.program_id(0), tl.program_id(2)
    across = tl.cdiv(outputs, OUT)
    ins = tl.program_id(1) // across * IN + tl.arange(0, IN)
    outs = tl.program_id(1) % across * OUT + tl.arange(0, OUT)
    total = tl.zeros((IN, OUT), tl.float32)
    for first in range(split * TOKENS, tokens, SPLITS * TOKENS):
        rows = first + tl.arange(0, TOKENS)
        x = _tile(x_ptr, rows, ins, tokens, inputs).to(tl.float32)
        grad = _tile(grad_ptr, rows, outs, tokens, outputs)
        value = _silu(x) if feature == 0 else _basis((x + 1) * half, feature - 2)
        total = tl.dot(tl.trans(value).to(grad.dtype), grad, total, input_precision=PRECISION)
    here = ((split * FEATURES + feature) * inputs + ins[:, None]) * outputs + outs[None, :]
    tl.store(parts_ptr + here, total, mask=(ins < inputs)[:, None] & (outs < outputs)[None, :])
