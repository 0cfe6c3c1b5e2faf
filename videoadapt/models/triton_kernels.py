"""Kernels of the frozen block on a GPU: CLIP's activation, and attention along a few frames."""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

import torch
import triton
import triton.language as tl
from torch import Tensor

from videoadapt.gpu import product_precision

MOST_FRAMES = 32  # of a clip, for attention along time
_BLOCK = 4096


def quick_gelu(x: Tensor) -> Tensor:
    """``x sigmoid(1.702 x)`` in one pass."""
    x = x.contiguous()
    y = torch.empty_like(x)
    with torch.cuda.device_of(x):
        _quick_gelu[triton.cdiv(x.numel(), _BLOCK),](x, y, x.numel(), BLOCK=_BLOCK, num_warps=8)
    return y


def quick_gelu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of x, in one pass."""
    grad, x = grad.contiguous(), x.contiguous()
    grad_x = torch.empty_like(x)
    with torch.cuda.device_of(x):
        _quick_gelu_backward[triton.cdiv(x.numel(), _BLOCK),](grad, x, grad_x, x.numel(), BLOCK=_BLOCK, num_warps=8)
    return grad_x


def attend(qkv: Tensor, heads: int, scale: float) -> Tensor:
    """Attention within each row of a batch of short sequences: qkv (b t 3*heads*d) to (b t heads*d), t <= 32."""
    qkv = qkv.contiguous()
    out = qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)
    grid, options = _sizes(qkv, heads)
    with torch.cuda.device_of(qkv):
        _attend[grid](qkv, out, qkv.shape[0] * qkv.shape[1], scale, **options)
    return out


def attend_backward(grad: Tensor, qkv: Tensor, heads: int, scale: float) -> Tensor:
    """The gradient of ``qkv``, whose attention is computed again."""
    grad, qkv = grad.contiguous(), qkv.contiguous()
    grad_qkv = torch.empty_like(qkv)
    grid, options = _sizes(qkv, heads)
    with torch.cuda.device_of(qkv):
        _attend_backward[grid](grad, qkv, grad_qkv, qkv.shape[0] * qkv.shape[1], scale, **options)
    return grad_qkv


def _sizes(qkv: Tensor, heads: int) -> tuple[tuple[int, int], dict]:
    """The grid, and what a program takes on: as many whole sequences of one head as fit into ``ROWS``."""
    batch, frames, width = qkv.shape
    dim = width // (3 * heads)
    options = {"T": frames, "HEADS": heads, "DIM": dim, "ROWS": MOST_FRAMES, "PRECISION": product_precision(qkv.dtype)}
    programs = triton.cdiv(batch, MOST_FRAMES // frames), heads
    warps = 8 if qkv.dtype == torch.float32 else 2  # of fp32, more registers
    return programs, {**options, "D": max(triton.next_power_of_2(dim), 16), "num_warps": warps}


@triton.jit
def _quick_gelu(x_ptr, y_ptr, size, BLOCK: tl.constexpr):
    here = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + here, mask=here < size, other=0.0).to(tl.float32)
    tl.store(y_ptr + here, (x / (1 + tl.exp(-1.702 * x))).to(y_ptr.dtype.element_ty), mask=here < size)


@triton.jit
def _quick_gelu_backward(grad_ptr, x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    here = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + here, mask=here < size, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + here, mask=here < size, other=0.0).to(tl.float32)
    gate = 1 / (1 + tl.exp(-1.702 * x))
    grad = grad * gate * (1 + 1.702 * x * (1 - gate))
    tl.store(out_ptr + here, grad.to(out_ptr.dtype.element_ty), mask=here < size)


@triton.jit
def _places(tokens, T: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr):
    """Of a program: where its queries and its outputs are, which are there, and which rows see each other."""
    used: tl.constexpr = ROWS // T * T
    row, d = tl.arange(0, ROWS), tl.arange(0, D)
    place = tl.program_id(0).to(tl.int64) * used + row
    mask = ((row < used) & (place < tokens))[:, None] & (d < DIM)[None, :]
    head = tl.program_id(1) * DIM + d[None, :]
    out = place[:, None] * (HEADS * DIM) + head
    return place[:, None] * (3 * HEADS * DIM) + head, out, mask, (row // T)[:, None] == (row // T)[None, :]


@triton.jit
def _queries_keys_values(pointer, mask, WIDTH: tl.constexpr):
    q = tl.load(pointer, mask=mask, other=0.0)
    k = tl.load(pointer + WIDTH, mask=mask, other=0.0)
    return q, k, tl.load(pointer + 2 * WIDTH, mask=mask, other=0.0)


@triton.jit
def _scores(q, k, sees, scale, PRECISION: tl.constexpr):
    scores = tl.where(sees, tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale, float("-inf"))
    scores = tl.exp(scores - tl.max(scores, 1)[:, None])
    return scores / tl.sum(scores, 1)[:, None]


@triton.jit
def _attend(
    qkv_ptr, out_ptr, tokens, scale,
    T: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    offset, here, mask, sees = _places(tokens, T, HEADS, DIM, ROWS, D)
    q, k, v = _queries_keys_values(qkv_ptr + offset, mask, HEADS * DIM)
    out = tl.dot(_scores(q, k, sees, scale, PRECISION).to(v.dtype), v, input_precision=PRECISION)
    tl.store(out_ptr + here, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _attend_backward(
    grad_ptr, qkv_ptr, out_ptr, tokens, scale,
    T: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    offset, here, mask, sees = _places(tokens, T, HEADS, DIM, ROWS, D)
    q, k, v = _queries_keys_values(qkv_ptr + offset, mask, HEADS * DIM)
    grad = tl.load(grad_ptr + here, mask=mask, other=0.0)
    dtype: tl.constexpr = out_ptr.dtype.element_ty
    scores = _scores(q, k, sees, scale, PRECISION)
    grad_v = tl.dot(tl.trans(scores.to(dtype)), grad, input_precision=PRECISION)
    tl.store(out_ptr + offset + 2 * HEADS * DIM, grad_v.to(dtype), mask=mask)
    arriving = tl.dot(grad, tl.trans(v), input_precision=PRECISION)
    arriving = (scores * (arriving - tl.sum(scores * arriving, 1)[:, None]) * scale).to(dtype)
    tl.store(out_ptr + offset, tl.dot(arriving, k, input_precision=PRECISION).to(dtype), mask=mask)
    grad_k = tl.dot(tl.trans(arriving), q, input_precision=PRECISION)
    tl.store(out_ptr + offset + HEADS * DIM, grad_k.to(dtype), mask=mask)
