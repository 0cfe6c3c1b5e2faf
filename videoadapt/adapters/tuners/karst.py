"""KARST: Kronecker-factored updates with re-scaling, for free at inference."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from videoadapt.adapters.common import Size, fused_parts
from videoadapt.adapters.tuners.factored import Factors, factored, product_dtype
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
        if torch.compiler.is_compiling():
            return self.rst(self.base(x).add_(self._delta(x)))
        factors = Factors(*_Laid.apply(self.C, self.A, self.B, product_dtype(x)))
        return self.rst(factored(x, self.base, factors))

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


class _Laid(torch.autograd.Function):
    """C, A and B as factors for products in a dtype, each in one pass, and their gradients back."""

    @staticmethod
    def forward(ctx: Any, c: Tensor, a: Tensor, b: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        ctx.dtype, ctx.shape = c.dtype, (c.shape[1], c.shape[0], a.shape[2])
        mix = c.new_zeros(ctx.shape + ctx.shape, dtype=dtype)  # from (m N r) to (m N r)
        _by_kernel(mix).copy_(c.unsqueeze(-1))
        u, v = (x.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format).contiguous() for x in (b, a))
        return u.flatten(1), mix.flatten(0, 2).flatten(1), v.flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor, mix: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        _, kernels, rank = ctx.shape
        c = _by_kernel(mix.view(ctx.shape + ctx.shape)).sum(-1, dtype=ctx.dtype)
        of = u.unflatten(1, (kernels, rank)), v.unflatten(1, (kernels, rank))
        b, a = (x.transpose(0, 1).to(ctx.dtype, memory_format=torch.contiguous_format).contiguous() for x in of)
        return c, a, b, None


def _by_kernel(mix: Tensor) -> Tensor:
    """The places where C_i stands in the matrix (m N r, m N r), for every rank: a view (N m m r)."""
    return mix.diagonal(0, 1, 4).diagonal(0, 1, 3).permute(2, 1, 0, 3)
