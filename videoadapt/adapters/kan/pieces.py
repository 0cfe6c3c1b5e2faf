"""A KAN layer by torch's own operations, for as many tokens at a time as the processor's cache holds."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from shutil import which
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_FEATURES = 2**18  # at a time: 1 MB in fp32
_FEATURES_CUDA = 2**26


def forward(x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int, compiled: bool) -> Tensor:
    """As ``kan_linear``."""
    features = _compiled() if compiled and has_compiler() else _IN_PLACE
    base, spline, scaler = (_exact(parameter) for parameter in (base, spline, scaler))
    u, edges = _tokens(x, base), _edges(spline, scaler)
    y = F.silu(u) @ base.t()
    for here, cells, rooms in _pieces(u, grid_size, features.rooms):
        features.bases(*cells, *rooms)
        y[here].addmm_(rooms[0].flatten(1), edges)
    return y.to(x.dtype).reshape(*x.shape[:-1], len(base))


def backward(
    grad: Tensor, x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int, compiled: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``kan_linear_backward``."""
    features = _compiled() if compiled and has_compiler() else _IN_PLACE
    dtype = base.dtype
    base, spline, scaler = (_exact(parameter) for parameter in (base, spline, scaler))
    u, grad, edges = _tokens(x, base), _tokens(grad, base), _edges(spline, scaler)
    grad_base = grad.t() @ F.silu(u)
    grad_u = torch.ops.aten.silu_backward(grad @ base, u)
    grad_edges = torch.zeros_like(edges)
    for here, cells, rooms in _pieces(u, grid_size, features.rooms):
        features.bases(*cells, *rooms)
        grad_edges.addmm_(rooms[0].flatten(1).t(), grad[here])
        torch.mm(grad[here], edges.t(), out=rooms[-1].flatten(1))
        # (r^3 - 4 i^3)' = -3 (r^2 - 4 i^2) sign(s) by the cell, and an input of 1 is half a grid of cells
        features.slopes(*cells, *rooms, grad_u[here], -3 * grid_size / 2)
    grad_joint = _unpacked(grad_edges, spline)
    gradients = grad_base, grad_joint * scaler.unsqueeze(-1), (grad_joint * spline).sum(-1)
    return grad_u.to(x.dtype).reshape(x.shape), *(gradient.to(dtype) for gradient in gradients)


def _exact(parameter: Tensor) -> Tensor:
    """Bases in 16 bits are wrong by two per cent: nothing here is less than fp32."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _tokens(x: Tensor, base: Tensor) -> Tensor:
    """(... n) to (tokens n)."""
    return x.reshape(-1, x.shape[-1]).to(base.dtype)


def _edges(spline: Tensor, scaler: Tensor) -> Tensor:
    """The splines' factors, bases times inputs to outputs: (bases*in out), with the sixth that all bases share."""
    return (spline * (scaler / 6).unsqueeze(-1)).permute(2, 1, 0).flatten(0, 1)


def _unpacked(grad_edges: Tensor, spline: Tensor) -> Tensor:
    """The reverse of ``_edges``: (out in bases)."""
    return grad_edges.unflatten(0, (spline.shape[2], spline.shape[1])).permute(2, 1, 0).contiguous() / 6


def _pieces(u: Tensor, grid_size: int, rooms: int) -> Iterator[tuple[slice, tuple[Tensor, Tensor], list[Tensor]]]:
    """Some tokens at a time: their place, their inputs and the bases' centres in half cells, and rooms for features.

    Inputs are (tokens 1 in), centres (bases 1), rooms (tokens bases in).
    """
    bases = grid_size + 3
    most = _FEATURES_CUDA if u.is_cuda else _FEATURES
    step = max(min(most // (bases * u.shape[1]), len(u)), 1)
    buffers = [u.new_empty(step, bases, u.shape[1]) for _ in range(rooms)]
    cells = ((u + 1) * grid_size).unsqueeze(1)
    centres = 2 * torch.arange(-1, grid_size + 2, device=u.device, dtype=u.dtype)[:, None]
    for start in range(0, len(u), step):
        here = slice(start, start + step)
        yield here, (cells[here], centres), [buffer[: len(u) - start] for buffer in buffers]


class _Features(NamedTuple):
    """How bases and slopes are made, in so many rooms: six times the bases go into the first.

    Then the last room takes the gradient of the bases, and ``slopes`` adds it to a gradient (tokens in), times the
    slopes and a factor. In place, slopes are made with the bases and wait in the second room; compiled, there is one
    room for bases and gradient, and slopes are made when they are added.
    """

    rooms: int
    bases: Callable[..., None]
    slopes: Callable[..., None]


def _bases_in_place(cells: Tensor, centres: Tensor, value: Tensor, slope: Tensor, inner: Tensor, sign: Tensor) -> None:
    """``_bases``, and the slopes on the way: in few passes, none of which allocates."""
    torch.abs(torch.sub(cells, centres, out=sign), out=value)
    value.neg_().add_(4).clamp_min_(0)
    torch.sub(value, 2, out=inner).clamp_min_(0).square_()
    torch.addcmul(inner, value, value, value=-0.25, out=slope)
    torch.addcmul(inner, value, slope, value=-0.5, out=value)
    torch.copysign(slope, sign, out=slope)


def _slopes_in_place(
    _cells: Tensor, _centres: Tensor, _value: Tensor, slope: Tensor, _inner: Tensor, grad: Tensor, total: Tensor,
    factor: float,
) -> None:  # fmt: skip
    total.add_(grad.mul_(slope).sum(1), alpha=factor)


def _bases(cells: Tensor, centres: Tensor, value: Tensor) -> None:
    """With the distance s from a centre in cells, r = relu(2 - |s|) and i = relu(1 - |s|): r^3 - 4 i^3.

    No large terms cancel. It is evaluated as r (r^2 - 4 i^2) + 4 i^2, since r = i + 1 where i is not 0, from 2 r and
    4 i^2.
    """
    reach = (4 - (cells - centres).abs()).clamp_min(0)
    inner = (reach - 2).clamp_min(0).square()
    value.copy_(inner + reach / 2 * (reach.square() / 4 - inner))


def _slopes(cells: Tensor, centres: Tensor, grad: Tensor, total: Tensor, factor: float) -> None:
    offset = cells - centres
    reach = (4 - offset.abs()).clamp_min(0)
    slope = torch.copysign(reach.square() / 4 - (reach - 2).clamp_min(0).square(), offset)
    total.add_((grad * slope).sum(1), alpha=factor)


_IN_PLACE = _Features(4, _bases_in_place, _slopes_in_place)


@cache
def has_compiler() -> bool:
    """Whether torch.compile can write code for this machine's processor."""
    return which(os.environ.get("CXX", "g++")) is not None


@cache
def _compiled() -> _Features:
    return _Features(1, torch.compile(_bases), torch.compile(_slopes))
