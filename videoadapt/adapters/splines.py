"""Uniform B-spline bases on [-1, 1], evaluated on the fly: no grid buffer, no grid update."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def spline_basis(x: Tensor, grid_size: int = 5, order: int = 3) -> Tensor:
    """The ``grid_size + order`` B-splines of a uniform grid on [-1, 1]: x (... n) to (... grid+order n).

    They sum to one inside the grid, fall to zero within ``order`` cells outside it and are exactly zero beyond.
    """
    cells = (x + 1) * (grid_size / 2)
    return _CubicBasis.apply(cells, grid_size) if order == 3 else recursive_basis(cells, grid_size, order)


class _CubicBasis(torch.autograd.Function):
    """Closed form of the cardinal cubic spline around each centre: (2-|s|)+^3 / 6 - 4 (1-|s|)+^3 / 6.

    Unlike the truncated power form, no large terms cancel. Only the input is kept for the backward pass.
    """

    @staticmethod
    def forward(ctx, cells: Tensor, grid_size: int) -> Tensor:
        ctx.save_for_backward(cells)
        ctx.grid_size = grid_size
        reach = 2 - _offsets(cells, grid_size).abs_()
        inner = (reach - 1).clamp_min_(0).pow_(3)
        return reach.clamp_min_(0).pow_(3).sub_(inner, alpha=4).mul_(1 / 6)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (cells,) = ctx.saved_tensors
        offsets = _offsets(cells, ctx.grid_size)
        reach = 2 - offsets.abs()
        inner = (reach - 1).clamp_min_(0).square_()
        slope = reach.clamp_min_(0).square_().mul_(-0.5).add_(inner, alpha=2).mul_(offsets.sign_())
        return slope.mul_(grad).sum(-2), None


def _offsets(cells: Tensor, grid_size: int) -> Tensor:
    centres = torch.arange(-1, grid_size + 2, device=cells.device, dtype=cells.dtype)
    return cells.unsqueeze(-2) - centres[:, None]


def recursive_basis(cells: Tensor, grid_size: int, order: int) -> Tensor:
    """Cox and de Boor's recursion, in grid cells: the reference for the closed form and the way for other orders."""
    knots = torch.arange(-order, grid_size + order + 1, device=cells.device, dtype=cells.dtype)[:, None]
    cells = cells.unsqueeze(-2)
    basis = ((cells >= knots[:-1]) & (cells < knots[1:])).to(cells.dtype)
    for k in range(1, order + 1):
        rising = (cells - knots[: -k - 1]) / k * basis[..., :-1, :]
        falling = (knots[k + 1 :] - cells) / k * basis[..., 1:, :]
        basis = rising + falling
    return basis
