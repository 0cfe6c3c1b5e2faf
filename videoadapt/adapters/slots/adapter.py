"""The bottleneck adapter of Houlsby et al., as AIM uses it."""

from itertools import pairwise

from torch import Tensor, nn

from videoadapt.adapters.common import DownLinear, Widths, scaled, start_at_zero
from videoadapt.layout import Origin


class Adapter(nn.Module):
    """``Adapter(x) = scale * W_up gelu(W_down x)``; ``W_up`` starts at zero (AIM, section 3.2).

    ``widths`` is the papers' "Shape" between the two D's, e.g. [192]; a GELU follows every layer but the last.
    """

    takes_origin = True

    def __init__(self, dim: int, *, widths: Widths, scale: float = 1.0) -> None:
        super().__init__()
        hidden = [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), nn.GELU())]
        self.down = nn.Sequential(DownLinear(dim, widths[0]), nn.GELU(), *hidden)
        self.up = nn.Linear(widths[-1], dim)
        self.scale = scale
        start_at_zero(self.up)

    def forward(self, x: Tensor, origin: Origin | None = None) -> Tensor:
        first, *others = self.down
        h = first(x, origin)
        for layer in others:
            h = layer(h)
        return scaled(self.scale, self.up(h))
