"""KARST: Kronecker-factored updates with re-scaling, for free at inference."""

from typing import Any

import torch
from torch import Tensor, nn

from videoadapt.adapters.common import Size, fused_parts
from videoadapt.adapters.tuners.rescale import Rescale, Rst


class KarstLinear(nn.Module):
    """``y = (s1 + 1) * ((W + dW) x + b) + s2`` with ``dW = sum_i C_i kron (A_i B_i)`` (KARST, section 2).

    Args:
        base: the frozen linear.
        m: stacking number, C_i is (m m); divides the inputs and the outputs of each part.
        kernels: number N of summands.
        rank: r of each A_i B_i.
        rst: re-scaling and shift (s1, s2) per output channel, as one scalar each, or none.
        parts: equal slices of the output with their own A, while B and C are shared; 3 for a fused qkv.
        zero_start: begin at zero instead of at the frozen function, by s1 = -1; needs ``rst``.

    ``A`` (stored transposed, (N parts r out/parts/m)) and ``C`` start Gaussian, ``B``, ``s1`` and ``s2`` at zero.
    Training never builds dW: x, seen as (m in/m), goes through B, then C, then A. ``merged`` folds everything into
    one plain linear.
    """

    def __init__(
        self,
        base: nn.Linear,
        m: Size = 8,
        kernels: Size = 2,
        rank: Size = 8,
        *,
        rst: Rst = "none",
        parts: Size | None = None,
        zero_start: bool = False,
    ) -> None:
        super().__init__()
        parts = parts or fused_parts(base)
        if base.in_features % m or base.out_features % (parts * m):
            raise ValueError(f"m={m} must divide {base.in_features} inputs and {base.out_features // parts} outputs")
        self.base, self.m, self.parts = base, m, parts
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.C = nn.Parameter(torch.randn(kernels, m, m, **like) / m)
        self.A = nn.Parameter(torch.randn(kernels, parts, rank, base.out_features // parts // m, **like))
        self.B = nn.Parameter(torch.zeros(kernels, base.in_features // m, rank, **like))
        self.rst = Rescale(base, rst, zero_start)

    def forward(self, x: Tensor) -> Tensor:
        return self.rst(self.base(x).add_(self._delta(x)))

    def _delta(self, x: Tensor) -> Tensor:
        kernels, _, rank, _ = self.A.shape
        b = self.B.transpose(0, 1).flatten(1)  # (in/m, N*r)
        a = self.A.transpose(1, 2).flatten(2).flatten(0, 1)  # (N*r, parts*out/parts/m)
        bx = (x.unflatten(-1, (self.m, -1)) @ b).unflatten(-1, (kernels, rank))  # (... m N r)
        cbx = torch.einsum("iab,...bir->...air", self.C, bx).flatten(-2)  # (... m N*r)
        return (cbx @ a).unflatten(-1, (self.parts, -1)).transpose(-3, -2).flatten(-3)

    def delta_weight(self) -> Tensor:
        """dW itself, (out in): for merging and for checking, never for training."""
        ab = torch.einsum("iprd,ier->ipde", self.A, self.B)
        return torch.einsum("iab,ipde->padbe", self.C, ab).flatten(0, 2).flatten(1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear that computes the same."""
        return self.rst.folded(self.base.weight + self.delta_weight(), self.base.bias)
