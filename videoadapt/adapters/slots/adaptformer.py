"""AdaptFormer: a bottleneck beside the MLP."""

import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.adapters.common import DownLinear, Dropout, Size, scaled, start_at_zero
from videoadapt.layout import Origin


class AdaptFormer(nn.Module):
    """``AdaptFormer(z) = scale * W_up dropout( relu(W_down z) )`` with z = norm2(x) (AdaptFormer, eq. 2-3).

    Its place is ``mlp_side``. ``W_up`` and both biases start at zero.

    Args:
        dim: width D of the tokens.
        width: of the bottleneck, 64 in the paper for video.
        scale: s, 0.1 in the paper.
    """

    takes_origin = True

    def __init__(self, dim: int, *, width: Size = 64, scale: float = 0.1, dropout: Dropout = 0.0) -> None:
        super().__init__()
        self.down, self.up = DownLinear(dim, width), nn.Linear(width, dim)
        self.dropout, self.scale = nn.Dropout(dropout), scale
        nn.init.zeros_(self.down.bias)
        start_at_zero(self.up)

    def forward(self, z: Tensor, origin: Origin | None = None) -> Tensor:
        return scaled(self.scale, self.up(self.dropout(F.relu(self.down(z, origin)))))
