"""LoKi: a low-dimensional KAN between two linear maps."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.adapters.common import DownLinear, Size, Widths, scaled, start_at_zero
from videoadapt.adapters.kan.bottleneck import bottleneck, is_fast
from videoadapt.adapters.kan.linear import KANLinear
from videoadapt.adapters.kan.plan import plan
from videoadapt.layout import Origin


class LoKi(nn.Module):
    """``LoKi(x) = scale * W_up Phi_k( ... Phi_0( W_down x ) )`` (LoKi, eq. 1).

    Args:
        dim: width D of the tokens.
        widths: the papers' "Shape" between the two D's, e.g. [48, 97, 48]; a KAN layer joins each pair.
        scale: factor on the delta, 2.0 beside the MLP in the paper.

    ``W_down`` and ``W_up`` carry a bias; ``W_up`` starts at zero, and so does the delta.
    """

    takes_origin = True

    def __init__(
        self, dim: int, *, widths: Widths, scale: float = 1.0, grid_size: Size = 5, spline_order: Size = 3
    ) -> None:
        super().__init__()
        self.down = DownLinear(dim, widths[0])
        self.kan = nn.Sequential(*(KANLinear(i, o, grid_size, spline_order) for i, o in pairwise(widths)))
        self.up = nn.Linear(widths[-1], dim)
        self.scale, self.plan = scale, plan(dim, widths, grid_size, spline_order)
        start_at_zero(self.up)

    def forward(self, x: Tensor, origin: Origin | None = None) -> Tensor:
        if self.plan is not None and is_fast(x):
            return bottleneck(x, origin, self.down, self.kan, self.up, self.scale, self.plan)
        y = scaled(self.scale, self.kan(self.down(x, origin)))
        return F.linear(y, self.up.weight, scaled(self.scale, self.up.bias))
