"""FacT: one tensor of updates for the whole network, decomposed."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.adapters.common import Dropout, Size
from videoadapt.adapters.tuners.factored import Factors, factored
from videoadapt.adapters.tuners.rescale import Rescale, Rst

Shared = dict[tuple[int, int], tuple[nn.Parameter, nn.Parameter]]  # (width, rank) to U and V


class FactLinear(nn.Module):
    """``y = W x + b + scale * V S U^T x``: tensor-train form, U and V for all layers, S for each (FacT, section 3.2).

    A layer wider than D is taken as blocks of D inputs or outputs (q, k, v; the MLP's four), each pair of blocks
    with its own (rank rank) piece of S. With ``rst`` the sum is re-scaled as in KARST, table 3.

    Args:
        base: the frozen linear; of its inputs and outputs, the smaller number is D and divides the other.
        rank: of U and V (D rank).
        scale: of the update.
        dropout: before V.
        rst: re-scaling and shift per output channel, as one scalar each, or none.
        zero_start: begin at zero instead of at the frozen function; needs ``rst``.
        shared: where the layers of one network keep their common U and V; alone, a layer has its own.

    ``V`` starts at zero.
    """

    def __init__(
        self,
        base: nn.Linear,
        *,
        rank: Size = 16,
        scale: float = 1.0,
        dropout: Dropout = 0.0,
        rst: Rst = "none",
        zero_start: bool = False,
        shared: Shared | None = None,
    ) -> None:
        super().__init__()
        width = min(base.in_features, base.out_features)
        if base.in_features % width or base.out_features % width:
            raise ValueError(f"{base.in_features} inputs and {base.out_features} outputs have no common block")
        self.base, self.width, self.rank, self.scale = base, width, rank, scale
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        shared = {} if shared is None else shared
        if (width, rank) not in shared:
            u = nn.Parameter(torch.empty(width, rank, **like).uniform_(-(width**-0.5), width**-0.5))
            shared[width, rank] = u, nn.Parameter(torch.zeros(width, rank, **like))
        self.U, self.V = shared[width, rank]
        blocks = base.out_features // width, base.in_features // width
        self.S = nn.Parameter(torch.empty(blocks[0] * rank, blocks[1] * rank, **like))
        nn.init.uniform_(self.S, -(self.S.shape[1] ** -0.5), self.S.shape[1] ** -0.5)
        self.dropout = nn.Dropout(dropout)
        self.rst = Rescale(base, rst, zero_start)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self.rst(self.base(x).add_(self._delta(x), alpha=self.scale))
        mix = self.S if self.scale == 1 else self.scale * self.S
        dropping = self.training and self.dropout.p > 0
        noise = self.dropout(x.new_ones(x.numel() // x.shape[-1], len(mix))) if dropping else None
        return self.rst(factored(x, self.base, Factors(self.U, mix.t(), self.V.t()[None], noise)))

    def _delta(self, x: Tensor) -> Tensor:
        down = (x.unflatten(-1, (-1, self.width)) @ self.U).flatten(-2)
        mixed = self.dropout(F.linear(down, self.S)).unflatten(-1, (-1, self.rank))
        return (mixed @ self.V.T).flatten(-2)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear that computes the same (dropout off)."""
        pieces = self.S.unflatten(0, (-1, self.rank)).unflatten(2, (-1, self.rank))  # (out/D r in/D r)
        delta = torch.einsum("dr,orip,ep->odie", self.V, pieces, self.U).flatten(0, 1).flatten(1)
        return self.rst.folded(self.base.weight + self.scale * delta, self.base.bias)
