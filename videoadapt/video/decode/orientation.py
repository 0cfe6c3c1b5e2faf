"""Display matrices: which of the eight ways to lay a picture is the one that a player shows."""

from itertools import product

import av
import numpy as np
from av.sidedata.sidedata import Type

# How numpy brings a picture there: whether its sides are swapped, then whether rows and columns run backwards.
Symmetry = tuple[bool, bool, bool]
_SYMMETRIES: list[Symmetry] = [(a, b, c) for a, b, c in product((False, True), repeat=3)]
UPRIGHT: Symmetry = (False, False, False)
_FLAT = 0.1  # of the largest area that the matrix's columns could span


def matrix_of(frame: av.VideoFrame) -> np.ndarray | None:
    """``a, b, c, d`` of its display matrix, where 65,536 is one (4,)."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]  # its keys are not strings
    return None if data is None else np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]]


def symmetry(frame: av.VideoFrame) -> Symmetry | None:
    """What brings a frame upright; None if it carries no matrix."""
    return None if (matrix := matrix_of(frame)) is None else nearest_symmetry(matrix)


def nearest_symmetry(matrix: np.ndarray) -> Symmetry:
    """Of ``a, b, c, d``, which send the point (x, y) to (ax + cy, bx + dy); nothing for a matrix without an area."""
    a, b, c, d = matrix.astype(np.float64)
    lengths = np.hypot(a, b) * np.hypot(c, d)
    if lengths == 0 or abs(a * d - b * c) < _FLAT * lengths:
        return UPRIGHT
    x, y = np.array([a, b]) / np.hypot(a, b), np.array([c, d]) / np.hypot(c, d)

    def likeness(way: Symmetry) -> float:
        swapped, up, left = way
        right, down = (-1.0 if left else 1.0), (-1.0 if up else 1.0)
        return x[1] * down + y[0] * right if swapped else x[0] * right + y[1] * down

    return max(_SYMMETRIES, key=likeness)


def turned(image: np.ndarray, way: Symmetry) -> np.ndarray:
    """A picture (h w c) laid as ``way`` says."""
    swapped, up, left = way
    image = image.swapaxes(0, 1) if swapped else image
    return image[:: -1 if up else 1, :: -1 if left else 1]
