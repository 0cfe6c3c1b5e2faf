"""A KAN layer by torch's own operations, for as many tokens at a time as the processor's cache holds."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from shutil import which
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_ROOMS = 2**19  # numbers in all rooms for features together, for each thread: 2 MB in fp32
_ROOMS_CUDA = 2**28
_ONE, _TWO = torch.tensor(1.0), torch.tensor(2.0)  # a plain number would be made a tensor in every call
_SHARED = 2 / 3  # a basis over what is computed of it


def forward(x: Tensor, base: Tensor, spline: Tensor, scaler: Tensor, grid_size: int, compiled: bool) -> Tensor:
    """As ``kan_linear``."""
    features = _compiled() if compiled and has_compiler() else _IN_PLACE
    base, spline, scaler = (_exact(parameter) for parameter in (base, spline, scaler))
    u = _tokens(x, base)
    edges = _edges(spline, scaler).t().contiguous()  # a product with a transposed view of them is slower
    y = F.silu(u) @ base.t()
    for here, inputs, rooms in _pieces(u, grid_size, features.rooms):
        features.bases(*inputs, *rooms)
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
    grad_u = grad @ base
    torch.ops.aten.silu_backward(grad_u, u, grad_input=grad_u)
    grad_edges = torch.zeros_like(edges)
    for here, inputs, rooms in _pieces(u, grid_size, features.backward_rooms):
        features.bases(*inputs, *rooms)
        grad_here = grad[here]
        grad_edges.addmm_(grad_here.t(), rooms[0].flatten(1))
        torch.mm(grad_here, edges, out=rooms[-1].flatten(1))
        features.slopes(*inputs, *rooms, grad_u[here])
    grad_joint = grad_edges.unflatten(1, (-1, u.shape[1])).transpose(1, 2).contiguous() * _SHARED
    grad_spline, grad_scaler = grad_joint * scaler.unsqueeze(-1), (grad_joint * spline).sum(-1)
    return grad_u.to(x.dtype).reshape(x.shape), grad_base.to(dtype), grad_spline.to(dtype), grad_scaler.to(dtype)


def _exact(parameter: Tensor) -> Tensor:
    """Bases in 16 bits are wrong by two per cent: nothing here is less than fp32."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _tokens(x: Tensor, base: Tensor) -> Tensor:
    """(... n) to (tokens n)."""
    return x.reshape(-1, x.shape[-1]).to(base.dtype)


def _edges(spline: Tensor, scaler: Tensor) -> Tensor:
    """The splines' factors, from bases of inputs to outputs: (out bases*in)."""
    return (spline * (scaler * _SHARED).unsqueeze(-1)).transpose(1, 2).flatten(1)


def _pieces(u: Tensor, grid_size: int, rooms: int) -> Iterator[tuple[slice, tuple, list[Tensor]]]:
    """Some tokens at a time: their place, what gives their offsets from the bases' centres, and rooms for features.

    An offset in cells is a start (bases 1) and the input (tokens 1 in) times the cells of 1. Rooms are
    (tokens bases in).
    """
    bases, cells = grid_size + 3, grid_size / 2
    most = _ROOMS_CUDA if u.is_cuda else _ROOMS * torch.get_num_threads()
    step = max(min(most // (rooms * bases * u.shape[1]), len(u)), 1)
    starts = cells - torch.arange(-1, grid_size + 2, device=u.device, dtype=u.dtype)[:, None]
    buffers = [u.new_empty(step, bases, u.shape[1]) for _ in range(rooms)]
    inputs = u.unsqueeze(1)
    for first in range(0, len(u), step):
        if first + step > len(u):
            buffers = [buffer[: len(u) - first] for buffer in buffers]
        here = slice(first, first + step)
        yield here, (starts, inputs[here], cells), buffers


class _Features(NamedTuple):
    """How bases and slopes are made, in so many rooms forward and backward: bases over ``_SHARED`` go into the first.

    Backward, the last room then takes the gradient of the bases, and ``slopes`` adds it, times the slopes, to the
    gradient of the inputs (tokens in). In place, slopes are made with the bases and wait in the room before the last;
    compiled, there is one room for bases and gradient, and slopes are made when they are added.
    """

    rooms: int
    backward_rooms: int
    bases: Callable[..., None]
    slopes: Callable[..., None]


def _bases_in_place(starts: Tensor, u: Tensor, cells: float, value: Tensor, reach: Tensor, *slopes: Tensor) -> None:
    """``_bases``, and the slopes on the way if there are rooms: in few passes, none of which allocates."""
    offset = torch.add(starts, u, alpha=cells, out=slopes[1] if slopes else reach)
    torch.abs(offset, out=reach).sub_(_TWO).clamp_max_(0)
    torch.add(reach, _ONE, out=value).clamp_max_(0)
    if not slopes:
        value.pow_(3).sub_(reach.pow_(3), alpha=0.25)
    else:
        slope = torch.addcmul(value.square_(), reach, reach, value=-0.25, out=slopes[0])
        value.addcmul_(reach, slope)  # the same: r = i + 1 where i is not 0
        slope.mul_(offset.sign_())


def _slopes_in_place(
    _starts: Tensor, _u: Tensor, cells: float, _value: Tensor, _reach: Tensor, slope: Tensor, grad: Tensor,
    total: Tensor,
) -> None:  # fmt: skip
    total.add_(slope.mul_(grad).sum(1), alpha=3 * cells)


def _bases(starts: Tensor, u: Tensor, cells: float, value: Tensor) -> None:
    """With the offset s from a centre in cells, r = relu(2 - |s|) and i = relu(1 - |s|): r^3 / 4 - i^3.

    No large terms cancel. Its slope is 3 (i^2 - r^2 / 4) sign(s). Both are computed from -r and -i.
    """
    reach = ((starts + u * cells).abs() - 2).clamp_max(0)
    value.copy_((reach + 1).clamp_max(0).pow(3) - reach.pow(3) / 4)


def _slopes(starts: Tensor, u: Tensor, cells: float, grad: Tensor, total: Tensor) -> None:
    offset = starts + u * cells
    reach = (offset.abs() - 2).clamp_max(0)
    slope = ((reach + 1).clamp_max(0).square() - reach.square() / 4) * offset.sign()
    total.add_((grad * slope).sum(1) * (3 * cells))  # as alpha, torch.compile would keep the first call's number


_IN_PLACE = _Features(2, 4, _bases_in_place, _slopes_in_place)


@cache
def has_compiler() -> bool:
    """Whether torch.compile can write code for this machine's processor."""
    return which(os.environ.get("CXX", "g++")) is not None


@cache
def _compiled() -> _Features:
    return _Features(1, 1, torch.compile(_bases), torch.compile(_slopes))
