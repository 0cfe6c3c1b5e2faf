"""A bottleneck of Kolmogorov-Arnold layers alone."""

from itertools import pairwise

from torch import Tensor, nn

from videoadapt.adapters.common import Size, Widths, scaled
from videoadapt.adapters.kan.linear import KANLinear


class KAN(nn.Module):
    """``KAN(x) = scale * (Phi_n o ... o Phi_0)(x)``, D -> widths -> D (LoKi's baseline "KAN").

    The last layer starts with w = c = 0 and s as usual, so the delta is zero while w and c still get gradients.
    """

    def __init__(
        self, dim: int, *, widths: Widths, scale: float = 1.0, grid_size: Size = 5, spline_order: Size = 3
    ) -> None:
        super().__init__()
        layers = [KANLinear(i, o, grid_size, spline_order) for i, o in pairwise([dim, *widths, dim])]
        self.layers = nn.Sequential(*layers)
        self.scale = scale
        nn.init.zeros_(layers[-1].base_weight)
        nn.init.zeros_(layers[-1].spline_weight)

    def forward(self, x: Tensor) -> Tensor:
        return scaled(self.scale, self.layers(x))
