"""The bottleneck adapter of Houlsby et al., as AIM uses it."""

from torch import Tensor, nn

from videoadapt.adapters.common import Widths, start_at_zero


class Adapter(nn.Module):
    """``Adapter(x) = scale * W_up gelu(W_down x)``; ``W_up`` starts at zero (AIM, section 3.2).

    ``widths`` is the papers' "Shape" between the two D's, e.g. [192]; a GELU follows every layer but the last.
    """

    def __init__(self, dim: int, *, widths: Widths, scale: float = 1.0) -> None:
        super().__init__()
        sizes = [dim, *widths]
        hidden = [layer for i, o in zip(sizes, widths, strict=False) for layer in (nn.Linear(i, o), nn.GELU())]
        self.down = nn.Sequential(*hidden)
        self.up = nn.Linear(widths[-1], dim)
        self.scale = scale
        start_at_zero(self.up)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.up(self.down(x))
