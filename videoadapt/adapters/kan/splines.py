"""Uniform B-spline bases on [-1, 1], evaluated on the fly: no grid buffer, no grid update."""

import torch
from torch import Tensor


def spline_basis(x: Tensor, grid_size: int = 5, order: int = 3) -> Tensor:
    """The ``grid_size + order`` B-splines of a uniform grid on [-1, 1]: x (... n) to (... grid+order n).

    They sum to one inside the grid, fall to zero within ``order`` cells outside it and are exactly zero beyond.
    """
    cells = (x + 1) * (grid_size / 2)
    return _cubic_basis(cells, grid_size) if order == 3 else recursive_basis(cells, grid_size, order)


def _cubic_basis(cells: Tensor, grid_size: int) -> Tensor:
    """Closed form of the cardinal cubic spline around each centre: (2-|s|)+^3 / 6 - 4 (1-|s|)+^3 / 6.

    Unlike in the truncated power form, no large terms cancel.
    """
    centres = torch.arange(-1, grid_size + 2, device=cells.device, dtype=cells.dtype)[:, None]
    distance = (cells.unsqueeze(-2) - centres).abs()
    return (2 - distance).clamp_min(0) ** 3 / 6 - (1 - distance).clamp_min(0) ** 3 * (4 / 6)


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
