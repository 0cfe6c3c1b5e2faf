"""A frozen linear with an update made of small factors, in one autograd function that keeps its input at most."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.layout import Origin, as_it_is, origin_of


class Factors(NamedTuple):
    """Inputs in blocks of e go through ``u``, what becomes of them through ``s``, to outputs in blocks of d by ``v``.

    The outputs are (p a d): p parts of a blocks, each part with a ``v`` of its own, and all from the same (a j).
    """

    u: Tensor  # (e k)
    s: Tensor | None  # (blocks of inputs * k, a * j); None leaves them as they are
    v: Tensor  # (p j d)
    noise: Tensor | None = None  # (tokens a*j), dropout's: what v gets is multiplied by it


def factored(x: Tensor, base: nn.Linear, factors: Factors) -> Tensor:
    """``base(x)`` plus the update: (... in) to (... out). Keeps x, or its origin, and what comes from ``u``."""
    origin, dtype = origin_of(x), product_dtype(x)
    x = x.to(dtype)
    origin = origin or Origin(as_it_is, x)
    u, s, v, noise = (None if factor is None else factor.to(dtype) for factor in factors)
    return _Factored.apply(x, base.weight, base.bias, u, s, v, noise, origin.source.detach(), origin.make)


class _Factored(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        u: Tensor,
        s: Tensor | None,
        v: Tensor,
        noise: Tensor | None,
        source: Tensor,
        make: Callable[[Tensor], Tensor],
    ) -> Tensor:
        y = F.linear(x, weight, bias)
        down = (x.reshape(-1, len(u)) @ u).view(-1, x.shape[-1] // len(u) * u.shape[1])
        _add_to_parts(y, _mixed(down, s, noise), v)
        ctx.save_for_backward(weight if ctx.needs_input_grad[0] else None, u, s, v, noise, source, down)
        ctx.make = make
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, u, s, v, noise, source, down = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        grad_mixed, grad_v = _of_parts(rows, _mixed(down, s, noise), v)
        grad_mixed = grad_mixed if noise is None else grad_mixed.mul_(noise)
        grad_down, grad_s = (grad_mixed, None) if s is None else (grad_mixed @ s.t(), down.t() @ grad_mixed)
        grad_blocks = grad_down.view(-1, u.shape[1])
        x = ctx.make(source).to(rows.dtype).reshape(len(rows), -1)
        grad_u = (grad_blocks.t() @ x.view(-1, len(u))).t()
        grad_weight = rows.t() @ x if needs_weight else None
        grad_bias = rows.sum(0) if needs_bias else None
        del x
        grad_x = None
        if needs_x:
            grad_x = rows @ weight.to(rows.dtype)
            blocks = grad_x.view(-1, len(u))
            torch.addmm(blocks, grad_blocks, u.t(), out=blocks)
            grad_x = grad_x.view(*grad.shape[:-1], -1)
        return grad_x, grad_weight, grad_bias, grad_u, grad_s, grad_v, None, None, None


def _mixed(down: Tensor, s: Tensor | None, noise: Tensor | None) -> Tensor:
    mixed = down if s is None else down @ s
    return mixed if noise is None else mixed * noise


def _add_to_parts(y: Tensor, mixed: Tensor, v: Tensor) -> None:
    """(tokens, a * j) through v, added to y (... out) in place, wherever the parts lie in it."""
    parts, inner, width = v.shape
    if parts == 1:
        blocks = y.view(-1, width)
        torch.addmm(blocks, mixed.view(-1, inner), v[0], out=blocks)
    else:
        blocks = _by_block(y.view(len(mixed), -1), width)
        torch.baddbmm(blocks, _by_block(mixed, inner).repeat(parts, 1, 1), _for_blocks(v, len(blocks)), out=blocks)


def _of_parts(grad: Tensor, mixed: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of ``mixed`` and ``v``, from that of y (tokens out)."""
    parts, inner, width = v.shape
    if parts == 1:
        blocks = grad.view(-1, width)
        return (blocks @ v[0].t()).view_as(mixed), (blocks.t() @ mixed.view(-1, inner)).t()[None]
    blocks, by_block = _by_block(grad, width), _by_block(mixed, inner)
    grad_v = (by_block.repeat(parts, 1, 1).mT @ blocks).unflatten(0, (parts, -1)).sum(1)
    grad_mixed = torch.empty_like(mixed)
    of_parts = (blocks @ _for_blocks(v, len(blocks)).mT).unflatten(0, (parts, -1))
    torch.sum(of_parts, 0, out=_by_block(grad_mixed, inner))
    return grad_mixed, grad_v


def _by_block(x: Tensor, width: int) -> Tensor:
    """(tokens, blocks * width) as a view (blocks tokens width)."""
    return x.unflatten(1, (-1, width)).transpose(0, 1)


def _for_blocks(v: Tensor, blocks: int) -> Tensor:
    """(p j d) to (blocks j d), the blocks of a part one after the other."""
    return v.repeat_interleave(blocks // len(v), 0)


def product_dtype(x: Tensor) -> torch.dtype:
    """What autocast computes products in, else x's own."""
    device = x.device.type
    lower = torch.is_autocast_enabled(device) and x.dtype != torch.float64
    return torch.get_autocast_dtype(device) if lower else x.dtype
