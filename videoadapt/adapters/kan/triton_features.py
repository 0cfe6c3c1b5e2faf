"""What Triton's kernels of KAN layers share: the functions on an edge, and tiles of memory.

Numbers of a basis begin at 0. Bases and their slopes are six times what they should be: the sixth is in the edges.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# The kernels are in Triton's language, where an annotation is for Triton.

import triton
import triton.language as tl


@triton.jit
def silu(x):
    return x / (1 + tl.exp(-x))


@triton.jit
def silu_slope(x):
    gate = 1 / (1 + tl.exp(-x))
    return gate * (1 + x * (1 - gate))


@triton.jit
def basis(x, number, GRID: tl.constexpr):
    reach = tl.maximum(2 - tl.abs(_offset(x, number, GRID)), 0)
    inner = tl.maximum(reach - 1, 0)
    return reach * reach * reach - 4 * inner * inner * inner


@triton.jit
def slope(x, number, GRID: tl.constexpr):
    """Of a basis, by x."""
    offset = _offset(x, number, GRID)
    reach = tl.maximum(2 - tl.abs(offset), 0)
    inner = tl.maximum(reach - 1, 0)
    size = (1.5 * GRID) * (reach * reach - 4 * inner * inner)
    return tl.where(offset > 0, -size, size)


@triton.jit
def _offset(x, number, GRID: tl.constexpr):
    """From the centre of a basis, in cells of the grid on [-1, 1]."""
    return x * (GRID / 2) + (GRID / 2 + 1 - number)


@triton.jit
def tile(pointer, rows, columns, height, width, stride):
    """Rows of ``stride`` numbers in memory, of which there are ``height`` by ``width``; 0 beyond."""
    mask = (rows < height)[:, None] & (columns < width)[None, :]
    return tl.load(pointer + rows[:, None].to(tl.int64) * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def put(pointer, value, rows, columns, height, width, stride):
    mask = (rows < height)[:, None] & (columns < width)[None, :]
    here = pointer + rows[:, None].to(tl.int64) * stride + columns[None, :]
    tl.store(here, value.to(pointer.dtype.element_ty), mask=mask)
