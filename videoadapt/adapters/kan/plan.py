"""How a bottleneck's numbers lie for its GPU kernels: worked out once, since the host has no time later."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_WIDEST = 64, 256, 64  # that the kernels are compiled for without spilling registers
_PROGRAMS = 264  # two for each processor of an H100


@dataclass(frozen=True)
class Plan:
    """Of linear, KAN, KAN, linear on tokens of width ``dim``, the KAN layers being from A to B to C.

    Widths are padded to powers of two; of B a program takes ``PART`` at a time.
    """

    dim: int
    A: int
    B: int
    C: int
    grid_size: int

    @cached_property
    def bases(self) -> int:
        return self.grid_size + 3

    @cached_property
    def row(self) -> int:
        """Of h1 in memory: rows begin at multiples of 16 bytes."""
        return _up_to(self.B, 8)

    @cached_property
    def wide(self) -> int:
        """Of h2 in memory: C, and a column of ones."""
        return _up_to(self.C + 1, 8)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """What all kernels are compiled for."""
        part = min(_padded(self.B), 128) if self.B <= 128 else 64
        parts = -(-self.B // part)
        names = {"A": self.A, "B": self.B, "C": self.C, "BASES": self.bases, "WIDE": self.wide}
        return {**names, "AP": _padded(self.A), "CP": _padded(self.C), "PART": part, "PARTS": parts}

    @cached_property
    def padded(self) -> tuple[int, int]:
        """Edges of the two KAN layers, with padding."""
        across = self.sizes["PART"] * self.sizes["PARTS"]
        return self.sizes["AP"] * across, across * self.sizes["CP"]

    @cached_property
    def packed(self) -> list[int]:
        """Numbers of all edges, of ``down``, its bias, nothing up to a multiple of eight, and ``up``."""
        down = self.A * (self.dim + 1)
        nothing = _up_to(down, 8) - down
        edges = (self.bases + 1) * sum(self.padded)
        return [edges, self.A * self.dim, self.A, nothing, self.dim * self.wide]

    @cached_property
    def linears(self) -> dict[str, int]:
        """Of the kernels that pack weights and unpack gradients."""
        return {"dim": self.dim, **self.sizes}

    @cached_property
    def layers(self) -> dict[str, Any]:
        """Of the kernels of the layers."""
        return {**self.sizes, "ROW": self.row, "GRID": self.grid_size}


def share(tokens: int, most: int) -> int:
    """How many tokens a program takes: so many as leave work for all processors, a power of two up to ``most``."""
    return next((many for many in (64, 32) if many <= most and tokens > many * (_PROGRAMS - 1)), 16)


def plan(dim: int, widths: Sequence[int], grid_size: int, spline_order: int) -> Plan | None:
    """None for a bottleneck that the kernels do not take."""
    if spline_order != 3 or len(widths) != 3 or any(w > most for w, most in zip(widths, _WIDEST, strict=True)):
        return None
    a, b, c = widths
    return Plan(dim, a, b, c, grid_size)


def _up_to(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _padded(size: int) -> int:
    return max(1 << (size - 1).bit_length(), 16)  # a matrix unit takes no less
